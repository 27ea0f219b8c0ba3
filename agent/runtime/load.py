"""What an instance has in flight, in memory that its agent looks at: nothing is sent, and nobody waits for the other.

The memory is a file of seven 64-bit cells with one writer. Who reads it may see one of them a moment older than the
next, which shifts a figure by one invocation and for one look. The agent reads the file and does not map it: what is
done to it in the function's process must not become the agent's fault.
"""

import mmap
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

IN_FLIGHT, BUSY, CHANGED, READY, FIRST, BEAT, OLDEST = range(7)
"""How many are in flight; the nanoseconds of all that ever were, added up; and on the clock of the machine since its
boot: the last change, when requests were taken first, when the first one was answered, when the loop was last seen to
run, and since when the answer was owed then that was owed longest, or 0 (see `due`)."""
CELLS = 7
SIZE = CELLS * 8

App = Callable[[Any, Any, Any], Awaitable[None]]


class Load:
    """Closes the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._cells = memoryview(mmap.mmap(descriptor, SIZE)).cast("Q")
        os.close(descriptor)

    def ready(self) -> None:
        self._cells[READY] = self._cells[CHANGED] = self._cells[BEAT] = time.monotonic_ns()

    def begin(self) -> None:
        self._change(+1)

    def end(self) -> None:
        self._change(-1)
        if not self._cells[FIRST]:
            self._cells[FIRST] = self._cells[CHANGED]

    def beat(self, now: int, oldest: int) -> None:
        self._cells[BEAT], self._cells[OLDEST] = now, oldest

    def _change(self, by: int) -> None:
        cells, now = self._cells, time.monotonic_ns()
        in_flight = cells[IN_FLIGHT]
        cells[BUSY] += in_flight * (now - cells[CHANGED])
        cells[CHANGED] = now
        cells[IN_FLIGHT] = in_flight + by


def counted(app: App, load: Load) -> App:
    """The application, with what it has in flight told: requests that wait for their turn too, and open WebSockets."""

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        load.begin()
        try:
            await app(scope, receive, send)
        finally:
            load.end()

    return counting
