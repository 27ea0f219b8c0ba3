"""The count of a phase, asked for beside everything else: a router that hangs delays neither a verb nor a rollback.

A sample serves for a moment. One that began before the phase was over never serves for its judgement.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.decision import Uncounted
from controller.metrics.routers import Phase
from hotswap.errors import Unavailable
from hotswap.metrics import Tally

FRESH = timedelta(seconds=1)
"""A sample older than this is taken anew when a judgement waits for it."""
SERVES = timedelta(seconds=6)
"""A sample may be this old when it is judged: a router has five seconds to answer the next one."""


@dataclass(frozen=True, slots=True)
class Sample:
    begun: datetime
    result: Tally | Uncounted


class Sampler:
    def __init__(self, phase: Phase, *, clock: Callable[[], datetime], wake: Callable[[], None]) -> None:
        self._phase = phase
        self._clock = clock
        self._wake = wake
        self._last: Sample | None = None
        self._task: asyncio.Task[None] | None = None

    def keep(self, *, every: timedelta) -> None:
        """Asks the routers if they were not asked for that long, so that little is lost with one that dies."""
        self._renew(self._clock() - every)

    def counted(self, *, since: datetime) -> Tally | Uncounted:
        """What a sample that began after `since` has counted, if there is one; another is on its way when it ages."""
        self._renew(max(since, self._clock() - FRESH))
        if self._last is None or self._last.begun < max(since, self._clock() - SERVES):
            return Uncounted("the routers do not answer")
        return self._last.result

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _renew(self, oldest: datetime) -> None:
        """Asks the routers unless they are being asked, or were asked since then."""
        aged = self._last is None or self._last.begun < oldest
        if aged and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._sample(), name="sample")

    async def _sample(self) -> None:
        begun = self._clock()
        try:
            self._last = Sample(begun, await self._phase.tally())
        except Unavailable as error:
            self._last = Sample(begun, Uncounted(str(error)))
        self._wake()
