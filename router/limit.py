"""The time that a function has to answer. It does not run while the client is waited for: a slow sender or reader is
not a slow function."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Limit:
    def __init__(self, seconds: float) -> None:
        self.waited = 0.0
        """Seconds that the client was waited for."""
        self._left: float | None = seconds
        self._timeout: asyncio.Timeout | None = None
        self._extended = False
        self._suspensions = 0
        self._since = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Raises `TimeoutError` when it is over; a second try has what the first one left."""
        try:
            async with asyncio.timeout(self._left) as self._timeout:
                yield
        finally:
            self._left = self._remaining()
            self._timeout = None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """While the client is waited for, in one direction or in both."""
        self._suspensions += 1
        if self._suspensions == 1:
            self._since = asyncio.get_running_loop().time()
            self._left = self._remaining()
            self._reschedule(None)
        try:
            yield
        finally:
            self._suspensions -= 1
            if not self._suspensions:
                now = asyncio.get_running_loop().time()
                self.waited += now - self._since
                self._reschedule(None if self._left is None else now + self._left)

    def extend(self, seconds: float) -> None:
        """Before it runs: what it waits for first is no fault of the function's. Once is enough."""
        if self._left is not None and not self._extended:
            self._left += seconds
            self._extended = True

    def lift(self) -> None:
        """There is no limit any more: it has answered with a tunnel."""
        self._left = None
        self._reschedule(None)

    def _remaining(self) -> float | None:
        when = self._timeout.when() if self._timeout else None
        return self._left if when is None else max(0.0, when - asyncio.get_running_loop().time())

    def _reschedule(self, when: float | None) -> None:
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(when)
