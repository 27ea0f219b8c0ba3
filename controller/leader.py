"""One controller leads. It holds a lease and, under it, the leader's key; the revision at which that key was created is
the fence that all of its writes require.

What only the leader may do runs as one task, which is stopped at the lease's own deadline at the latest: by then nobody
else can have the key. A store that is away ends the lead, not the controller: it stands again as soon as it can.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from controller.means import Clock
from hotswap import errors, kv
from hotswap.deployment import Leader
from hotswap.mirror import mirrored
from hotswap.store import Fence, Store

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=10)
"""A leader that dies is followed by another after this."""
RETRY_AFTER = 0.5
"""Seconds before it stands again after a failure."""
OUTSIDE = (errors.NotLeader, errors.Unavailable, errors.Conflict, kv.KVError)
"""What may end a lead without being a fault of ours."""


class Leadership:
    def __init__(self, *, store: Store, name: str, address: str, rest: str, clock: Clock) -> None:
        self._store = store
        self._name = name
        self._address = address
        self._rest = rest
        self._clock = clock

    async def run(self, lead: Callable[[Fence], Awaitable[None]]) -> None:
        """Leads whenever it can; never returns. Raises what `lead` raises for a fault of ours."""
        while True:
            try:
                await self._vacant()
                await self._stand(lead)
            except errors.Conflict:
                continue  # another was faster
            except OUTSIDE as error:
                log.warning("does not lead: %s", error)
            await asyncio.sleep(RETRY_AFTER)

    async def _vacant(self) -> None:
        async with mirrored(self._store.leader) as leader:
            await leader.until(lambda held: len(held) == 0)

    async def _stand(self, lead: Callable[[Fence], Awaitable[None]]) -> None:
        lease = await self._store.kv.grant(LEASE)
        try:
            me = Leader(controller=self._name, address=self._address, rest=self._rest, since=self._clock())
            revision = await self._store.transaction().create(me, lease=lease.id).commit()
            log.info("leads since revision %d", revision)
            await self._lead(lease, lead(Fence(self._store.key_of(me), revision)))
        finally:
            await lease.revoke()

    async def _lead(self, lease: kv.Lease, leading: Awaitable[None]) -> None:
        work, lost = asyncio.ensure_future(leading), asyncio.ensure_future(lease.lost())
        try:
            await asyncio.wait([work, lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            lost.cancel()
            await asyncio.gather(work, lost, return_exceptions=True)
        error = None if work.cancelled() else work.exception()
        if error is None:
            log.warning("the lease is lost; it does not lead any more")
        elif _from_outside(error):
            log.warning("it does not lead any more: %s", "; ".join(_messages(error)))
        else:
            raise error


def _from_outside(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(OUTSIDE)[1] is None
    return isinstance(error, OUTSIDE)


def _messages(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [message for inner in error.exceptions for message in _messages(inner)]
    return [str(error)]
