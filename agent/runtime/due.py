"""How long an answer is owed: until it has ended, without the time in which the client is waited for.

That is what a version's time limit is about, which the router keeps. Here it ends the work. An application in the loop
is cancelled a little later. What cannot be (a thread, a loop that is held, one that does not let itself be cancelled)
the agent sees in the file of `load`, and has the instance replaced. What an application does after its answer is its
own affair.
"""

import asyncio
import sys
import time
from typing import Any

from .load import App, Load

GRACE = 1.0
"""Seconds after the version's time limit at which what is in the loop is cancelled."""
NANO = 1e-9


class Due:
    """One answer. The client is waited for first."""

    def __init__(self, load: Load, limit: asyncio.Timeout, seconds: float | None) -> None:
        """After so many seconds the limit is over; `None`: never."""
        self._load = load
        self._limit = limit
        self._seconds = seconds
        self._spent = 0
        self._since = 0
        self._body = self._answer = False
        """Whether it has ended."""

    def begin(self) -> None:
        self._since = time.monotonic_ns() - self._spent
        self._load.owe(self, self._since)
        if self._seconds is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds - self._spent * NANO)

    def pause(self) -> None:
        self._spent = time.monotonic_ns() - self._since
        self._load.owe_nothing(self)
        if self._seconds is not None and not self._limit.expired():
            self._limit.reschedule(None)

    async def receive(self, receive: Any) -> Any:
        """Of the body; afterwards that the client is gone, which nobody is held up by."""
        if self._body or self._answer:
            return await receive()
        self.pause()
        message = await receive()
        self._body = not message.get("more_body")
        self.begin()
        return message

    async def send(self, send: Any, message: Any) -> None:
        if not self._answer:
            self.pause()
        await send(message)
        self._answer = self._answer or (message["type"] == "http.response.body" and not message.get("more_body"))
        if not self._answer:
            self.begin()


def owing(app: App, load: Load, seconds: float | None) -> App:
    """The application, cancelled when it has owed an answer for so long; `None` where that is of no use."""

    async def owes(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        limit = asyncio.timeout(None)
        due = Due(load, limit, seconds)
        try:
            async with limit:
                due.begin()
                await app(scope, lambda: due.receive(receive), lambda message: due.send(send, message))
        except TimeoutError:
            if not limit.expired():
                raise
            print("the application was cancelled, since it did not answer within its time limit", file=sys.stderr)
        finally:
            load.owe_nothing(due)

    return owes
