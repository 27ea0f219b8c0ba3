"""How long an answer is owed: until it has ended, without the time in which the client is waited for.

That is what a version's time limit is about, which the router keeps: it has told its client by then. Here it ends the
work. What runs in the loop is cancelled a little later. What cannot be (a thread, a loop that is held, a task that does
not let itself be cancelled) the agent finds in the file of `load`, and has the instance replaced; one with all of its
threads held ends by itself. What an application does after its answer is its own affair.

No invocation has a timer: the server's tick looks at what is owed, ten times a second.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from types import TracebackType
from typing import Any

from .load import App, Load

GRACE = 1.0
"""Seconds after the version's time limit at which what is in the loop is cancelled."""
HUNG_EXIT_CODE = 4
"""Of a process whose threads are all held beyond the time limit."""
NANO = 1e9


class Overdue(TimeoutError):
    """Nobody waits for the answer any more."""


class Due:
    """An answer that is owed, within the context. Raises `Overdue` when it was cancelled."""

    def __init__(self, dues: "Dues", since: int, *, endable: bool) -> None:
        """`since`, in nanoseconds, moves on with the time in which the client is waited for."""
        self.since = since
        self.endable = endable
        self._dues = dues
        self._limit = asyncio.timeout(None)
        self._waits = 0
        self._paused = 0
        self._over = False

    async def __aenter__(self) -> "Due":
        if self.endable:
            await self._limit.__aenter__()
        self._dues.owed.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over()
        if self.endable:
            try:
                await self._limit.__aexit__(kind, error, trace)
            except TimeoutError:
                raise Overdue("it was not answered within its time limit, and was cancelled") from None

    def over(self) -> None:
        """It has been answered."""
        self._over = True
        self._dues.owed.discard(self)

    def cancel(self) -> None:
        if not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())

    def pause(self) -> None:
        """The client is waited for from now on, in one direction or in both."""
        self._waits += 1
        if self._waits == 1:
            self._paused = self._dues.clock()
            self._dues.owed.discard(self)

    def resume(self) -> None:
        self._waits -= 1
        if not (self._waits or self._over):
            self.since += self._dues.clock() - self._paused
            self._dues.owed.add(self)


class Dues:
    """All answers that are owed, and whose turn it is."""

    def __init__(self, load: Load, *, limit: float, most: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """`limit`: the version's, in seconds. `most`: how many may be owed at a time."""
        self.owed: set[Due] = set()
        self.clock = clock
        self._load = load
        self._limit = limit + GRACE
        self._most = most
        self._turns = asyncio.Semaphore(most)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """One of the most that may be owed; since when it was waited for. Raises `Overdue` rather than take up what
        nobody waits for any more."""
        since = self.clock()
        try:
            async with asyncio.timeout(self._limit) if self._turns.locked() else nullcontext():
                await self._turns.acquire()
        except TimeoutError:
            raise Overdue("its turn did not come within its time limit") from None
        try:
            yield since
        finally:
            self._turns.release()

    def due(self, since: int) -> Due:
        """Of what runs in the loop."""
        return Due(self, since, endable=True)

    def in_thread(self) -> Due:
        """From now on, since it cannot be cancelled: what waited long for its turn is not stuck."""
        return Due(self, self.clock(), endable=False)

    def look(self) -> None:
        """Tells the agent that the loop runs, and since when an answer is owed; ends what is late."""
        now = self.clock()
        oldest = min((due.since for due in self.owed), default=0)
        self._load.beat(now, oldest)
        if oldest and self._late(oldest, now):
            self._end([due for due in self.owed if self._late(due.since, now)])

    def _late(self, since: int, now: int) -> bool:
        return now - since > self._limit * NANO

    def _end(self, late: list[Due]) -> None:
        for due in late:
            if due.endable:
                due.cancel()
        if sum(not due.endable for due in late) >= self._most:
            print("every thread is held beyond the time limit: the instance ends", file=sys.stderr, flush=True)
            os._exit(HUNG_EXIT_CODE)


class Exchange:
    """An application's messages with its client, who is waited for at times."""

    def __init__(self, due: Due, receive: Any, send: Any) -> None:
        self._due = due
        self._receive = receive
        self._send = send
        self._received = self._answered = False
        """Whether the body has come, and the answer gone, to the end."""

    async def receive(self) -> Any:
        if self._received or self._answered:
            return await self._receive()  # that the client is gone, which holds nobody up
        self._due.pause()
        try:
            message = await self._receive()
        finally:
            self._due.resume()
        self._received = not message.get("more_body")
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._answered = True
            self._due.over()
        self._due.pause()
        try:
            await self._send(message)
        finally:
            self._due.resume()


def within_limit(app: App, dues: Dues, *, threads: bool) -> App:
    """The application, at most so often at a time, and each within the limit. A WebSocket has neither."""

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            async with dues.turn() as since, dues.in_thread() if threads else dues.due(since) as due:
                exchange = Exchange(due, receive, send)
                await app(scope, exchange.receive, exchange.send)
        except Overdue as error:
            print(error, file=sys.stderr)

    return limited
