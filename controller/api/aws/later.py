"""Invocations of the type Event: taken now, made later, tried again where they fail.

They wait in this controller's memory, and no more of them than it says: the next one is refused, so that its sender
knows. What waits is lost with the controller. An error of the function is tried twice more, after one minute and after
two, as by Lambda; where it could not be invoked at all, again and again for six hours, ever more seldom.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from controller.api.aws.faults import Fault, busy
from controller.api.aws.invoking import Invocation

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Invocations that are under way at a time."""
MOST = 10_000
MOST_BYTES = 64 << 20
AFTER_ERRORS = (60.0, 120.0)
"""Seconds to wait before it is tried again."""
FIRST_RETRY = 1.0
LAST_RETRY = 300.0
"""Seconds, doubled from the first to the last, where it could not be invoked."""
OLDEST = 6 * 3600.0
"""Seconds after which it is given up."""

Clock = Callable[[], float]


@dataclass(slots=True)
class Waiting:
    invocation: Invocation
    since: float
    errors: int = 0
    """How often the function failed."""
    misses: int = 0
    """How often it could not be invoked."""
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Later:
    """`run` makes them; see `making`."""

    def __init__(
        self,
        succeeds: Callable[[Invocation], Awaitable[bool]],
        *,
        clock: Clock = time.monotonic,
        after_errors: Sequence[float] = AFTER_ERRORS,
        first_retry: float = FIRST_RETRY,
        most: int = MOST,
    ) -> None:
        self._succeeds = succeeds
        self._clock = clock
        self._after_errors = after_errors
        self._first_retry = first_retry
        self._most = most
        self._due: asyncio.Queue[Waiting] = asyncio.Queue()
        self._taken: dict[int, Waiting] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, invocation: Invocation) -> None:
        """Raises `Fault` when it is full."""
        if len(self._taken) >= self._most or self._bytes + len(invocation.body) > MOST_BYTES:
            raise busy(f"Rate Exceeded. {len(self._taken)} invocations wait to be made", hint="send it again later")
        waiting = Waiting(invocation, self._clock())
        self._taken[id(waiting)] = waiting
        self._bytes += len(invocation.body)
        self._due.put_nowait(waiting)

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(self._work())

    def close(self) -> None:
        """Says what is lost."""
        for waiting in self._taken.values():
            if waiting.timer:
                waiting.timer.cancel()
        if self._taken:
            log.warning("%d invocations of the type Event that waited are lost", len(self._taken))

    async def _work(self) -> None:
        while True:
            waiting = await self._due.get()
            delay = await self._make(waiting)
            if delay is None or self._clock() + delay - waiting.since > OLDEST:
                if delay is not None:
                    log.warning("invocation %s is given up: it is too old", waiting.invocation.id)
                del self._taken[id(waiting)]
                self._bytes -= len(waiting.invocation.body)
            else:
                waiting.timer = asyncio.get_running_loop().call_later(delay, self._due.put_nowait, waiting)

    async def _make(self, waiting: Waiting) -> float | None:
        """Seconds after which to try again; `None` when it is done, one way or the other."""
        invocation = waiting.invocation
        try:
            if await self._succeeds(invocation):
                return None
        except Fault as fault:
            return self._missed(waiting, fault)
        waiting.errors += 1
        if waiting.errors <= len(self._after_errors):
            return self._after_errors[waiting.errors - 1]
        log.warning(
            "invocation %s of %s failed %d times and is given up", invocation.id, invocation.function, waiting.errors
        )
        return None

    def _missed(self, waiting: Waiting, fault: Fault) -> float | None:
        """A fault of the invocation's own will be there again."""
        invocation = waiting.invocation
        if fault.status not in {429, 503}:
            log.warning("invocation %s of %s is given up: %s", invocation.id, invocation.function, fault.message)
            return None
        waiting.misses += 1
        return float(min(LAST_RETRY, self._first_retry * 2 ** (waiting.misses - 1)))


@asynccontextmanager
async def making(succeeds: Callable[[Invocation], Awaitable[bool]]) -> AsyncIterator[Later]:
    """Until the context ends."""
    later = Later(succeeds)
    work = asyncio.create_task(later.run(), name="invocations of the type Event")
    try:
        yield later
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        later.close()
