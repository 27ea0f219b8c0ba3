"""Has counts looked at as soon as there is something bad in them.

The counts of a deployment are asked for every few seconds, which is soon enough for what is well. A version that fails
is to be judged within the second; but to ask a thousand times as often for what is well would take all of the asker's
time. So each router is asked one question more, and kept waiting on it: who had errors since I last asked? The counts
of those are then asked for at once.

What it costs has a bound, however much fails: looks are begun a few at a time, and each is allowed its time.
"""

import asyncio
import logging
from collections.abc import Callable

from hotswap.errors import Unavailable
from hotswap.metrics import Failure
from hotswap.mirror import Mirror
from hotswap.model import Router
from hotswap.routers import Admin

log = logging.getLogger(__name__)

LEAST_PAUSE = 0.1
"""Seconds between two questions to a router that has something to tell."""
TOGETHER = 32
"""Looks that are begun at once; they are one request to each router."""
PAUSE_EACH = 0.001
"""Seconds for each look before the next are begun: so there are a thousand a second for each router, at most."""
RETRY_AFTER = 1.0
"""Seconds before a router that did not answer is asked again; counts are asked for meanwhile, as always."""


class Alarms:
    """`routers` is kept up by its owner. `alarm` is told what fails, and says how many looks that leads to."""

    def __init__(self, routers: Mirror[Router], admin: Admin, alarm: Callable[[Failure], int]) -> None:
        self._routers = routers
        self._admin = admin
        self._alarm = alarm
        self._heard: set[str] = set()
        """Keys of the routers that are asked."""

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for stored in self._routers:
                    if stored.key not in self._heard:
                        self._heard.add(stored.key)
                        tasks.create_task(self._hear(stored.key), name=f"what fails at {stored.value.name}")
                await self._routers.changed()

    async def _hear(self, key: str) -> None:
        """For as long as the router lives."""
        boot, look = "", 0
        try:
            while stored := self._routers.get(key):
                if boot != stored.value.boot:  # one that was started again begins anew
                    boot, look = stored.value.boot, 0
                try:
                    told = await self._admin.failing(stored.value, look)
                except Unavailable as error:
                    log.info("%s", error)
                    await asyncio.sleep(RETRY_AFTER)
                    continue
                look = told.look
                await self._heed(told.failures)
                await asyncio.sleep(LEAST_PAUSE)
        finally:
            self._heard.discard(key)

    async def _heed(self, failures: list[Failure]) -> None:
        begun = 0
        for failure in failures:
            begun += self._alarm(failure)
            if begun >= TOGETHER:
                await asyncio.sleep(begun * PAUSE_EACH)
                begun = 0
