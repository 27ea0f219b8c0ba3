"""The router's own key in the store, under a lease that is replaced when it is lost."""

import asyncio
import logging
from datetime import timedelta

from hotswap.kv import KVError, Lease
from hotswap.model import Router
from hotswap.store import Store

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=10)
AGAIN = 0.5
"""Seconds before another try."""
GOODBYE_LIMIT = 2.0
"""Seconds that the end may take; the lease runs out by itself."""


async def announced(store: Store, router: Router) -> None:
    """Keeps the key there until it is cancelled; then it is gone."""
    while True:
        try:
            lease = await store.kv.grant(LEASE)
        except KVError as error:
            log.debug("no lease yet: %s", error)
            await asyncio.sleep(AGAIN)
            continue
        try:
            await store.transaction().announce(router, lease=lease.id).commit()
            await lease.lost()
            log.warning("the router's lease was lost; it is announced again")
        except KVError as error:
            log.debug("not announced yet: %s", error)
            await asyncio.sleep(AGAIN)
        finally:
            await _end(lease)


async def _end(lease: Lease) -> None:
    try:
        async with asyncio.timeout(GOODBYE_LIMIT):
            await lease.revoke()
    except TimeoutError:
        log.debug("the lease could not be revoked; it runs out")
