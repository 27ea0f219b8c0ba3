"""Has counts looked at as soon as there is something bad in them.

The counts of a deployment are asked for every few seconds, which is soon enough for what is well. A version that fails
is to be judged within the second; but to ask a thousand times as often for what is well would take all of the asker's
time. So each router is asked one question more, and kept waiting on it: who had errors since I last asked? The counts
of those are then asked for at once.

What it costs has a bound, however much fails: looks are begun a few at a time, and each is allowed its time.
"""

import asyncio
from collections.abc import Callable

from controller.hearing import hear
from hotswap.metrics import Failure
from hotswap.mirror import Mirror
from hotswap.model import Router
from hotswap.routers import Admin

LEAST_PAUSE = 0.1
"""Seconds between two questions to a router that has something to tell."""
TOGETHER = 32
"""Looks that are begun at once; they are one request to each router."""
PAUSE_EACH = 0.001
"""Seconds for each look before the next are begun: so there are a thousand a second for each router, at most."""


class Alarms:
    """`routers` is kept up by its owner. `alarm` is told what fails, and says how many looks that leads to."""

    def __init__(self, routers: Mirror[Router], admin: Admin, alarm: Callable[[Failure], int]) -> None:
        self._routers = routers
        self._admin = admin
        self._alarm = alarm
        self._looks: dict[str, tuple[str, int]] = {}
        """By router, its boot and the look that it told last; one that was started again begins anew."""

    async def run(self) -> None:
        """Never returns. Counts are asked for meanwhile, as always."""
        await hear(self._routers, self._ask, name="what fails")

    async def _ask(self, router: Router) -> None:
        boot, look = self._looks.get(router.name, ("", 0))
        told = await self._admin.failing(router, look if boot == router.boot else 0)
        self._looks[router.name] = (router.boot, told.look)
        await self._heed(told.failures)
        await asyncio.sleep(LEAST_PAUSE)

    async def _heed(self, failures: list[Failure]) -> None:
        begun = 0
        for failure in failures:
            begun += self._alarm(failure)
            if begun >= TOGETHER:
                await asyncio.sleep(begun * PAUSE_EACH)
                begun = 0
