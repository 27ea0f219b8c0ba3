"""A question that is kept waiting at each router: asked again and again, for as long as the router lives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from hotswap.errors import Unavailable
from hotswap.mirror import Mirror
from hotswap.model import Router

log = logging.getLogger(__name__)

RETRY_AFTER = 1.0
"""Seconds before a router that did not answer is asked again."""


async def hear(routers: Mirror[Router], ask: Callable[[Router], Awaitable[None]], *, name: str) -> NoReturn:
    """`ask` returns, or raises `Unavailable`, when it may be called again. `routers` is kept up by its owner."""
    heard: set[str] = set()

    async def one(key: str) -> None:
        try:
            while stored := routers.get(key):
                try:
                    await ask(stored.value)
                except Unavailable as error:
                    log.info("%s", error)
                    await asyncio.sleep(RETRY_AFTER)
        finally:
            heard.discard(key)

    async with asyncio.TaskGroup() as tasks:
        while True:
            for stored in routers:
                if stored.key not in heard:
                    heard.add(stored.key)
                    tasks.create_task(one(stored.key), name=f"{name} at {stored.value.name}")
            await routers.changed()
