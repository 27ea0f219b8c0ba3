"""The counts of a deployment, asked for beside everything else: a router that hangs delays no verb and no rollback.

A sample tells when it was begun, since one that began before a phase was over does not serve for its judgement.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from controller.decision import Counted, Uncounted
from controller.metrics.routers import Trail
from hotswap.errors import Unavailable

FRESH = timedelta(seconds=1)
"""A sample older than this is taken anew when a judgement waits for it."""
WHILE = timedelta(seconds=30)
"""Over which it is told how often the alias is invoked."""
SERVES = timedelta(seconds=6)
"""A sample may be this old when it is judged: a router has five seconds to answer the next one."""


class Sampler:
    def __init__(self, trail: Trail, *, clock: Callable[[], datetime], wake: Callable[[], None]) -> None:
        self._trail = trail
        self._clock = clock
        self._wake = wake
        self._last: Counted | Uncounted = Uncounted("the routers do not answer")
        self._begun: datetime | None = None
        self._task: asyncio.Task[None] | None = None
        self._looks: deque[tuple[datetime, int]] = deque()
        """The last while: when the routers were asked, and how many invocations there had been."""

    def counted(self, *, since: datetime) -> Counted | Uncounted:
        """The newest sample that is fresh enough to rest a judgement on; another is taken if none began after
        `since`."""
        now = self._clock()
        self._renew(since)
        if self._begun is None or self._begun < now - SERVES:
            return Uncounted("the routers do not answer")
        return self._last

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _renew(self, oldest: datetime) -> None:
        """Asks the routers unless they are being asked, or were asked since then."""
        aged = self._begun is None or self._begun < oldest
        if aged and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._sample(), name="sample")

    async def _sample(self) -> None:
        begun = self._clock()
        try:
            self._last = self._with_rate(Counted(await self._trail.tallies(), begun))
        except Unavailable as error:
            self._last = Uncounted(str(error))
        self._begun = begun
        self._wake()

    def _with_rate(self, counted: Counted) -> Counted:
        now, invocations = counted.begun, counted.invocations
        while self._looks and self._looks[0][0] < now - WHILE:
            self._looks.popleft()
        self._looks.append((now, invocations))
        if len(self._looks) == 1:
            return counted
        (first, least), (before, fewer) = self._looks[0], self._looks[-2]
        return replace(
            counted, fresh=invocations - fewer, lapse=now - before, lately=invocations - least, span=now - first
        )
