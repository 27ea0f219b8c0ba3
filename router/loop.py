"""The event loop of a worker: asyncio's, on the worker's own poll.

What the lane does not see to by itself (the channel to the parent, connections that are being made, tunnels, timers)
stands in the same poll as its sockets. So there is one wait for all, and the loop has a turn only when something is for
it: as long as all that happens is the lane's, its selector does not come back.
"""

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from typing import Any, Final, TypeVarTuple

from router.wire import IN, OUT, Poll, Watched

FOREVER: Final = -1.0

Ts = TypeVarTuple("Ts")
Ready = list[tuple[selectors.SelectorKey, int]]


class Asked(Watched):
    """A file that asyncio asks about."""

    def __init__(self, key: selectors.SelectorKey, ready: Ready) -> None:
        self.key = key
        self._ready = ready

    def happened(self, events: int) -> None:
        told = selectors.EVENT_WRITE if events & ~IN else 0
        if events & ~OUT:
            told |= selectors.EVENT_READ
        self._ready.append((self.key, told & self.key.events))


class Known(Mapping[Any, selectors.SelectorKey]):
    """By a file, or by its number."""

    def __init__(self, asked: dict[int, Asked]) -> None:
        self._asked = asked

    def __getitem__(self, file: Any) -> selectors.SelectorKey:
        return self._asked[_number(file)].key

    def __iter__(self) -> Iterator[int]:
        return iter(self._asked)

    def __len__(self) -> int:
        return len(self._asked)


class Selector(selectors.BaseSelector):
    """Closes the poll when it is closed."""

    def __init__(self, poll: Poll) -> None:
        self.due = False
        """The loop has something to do since it last asked."""
        self._poll = poll
        self._asked: dict[int, Asked] = {}
        self._known = Known(self._asked)
        self._ready: Ready = []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = _number(fileobj)
        if fd in self._asked:
            raise KeyError(f"{fileobj!r} is registered already")
        asked = Asked(selectors.SelectorKey(fileobj, fd, events, data), self._ready)
        self._poll.watch(fd, asked, 0, _mask(events))
        self._asked[fd] = asked
        return asked.key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        asked = self._asked.pop(_number(fileobj))
        with contextlib.suppress(OSError):  # it was closed before
            self._poll.watch(asked.key.fd, asked, _mask(asked.key.events), 0)
        return asked.key

    def select(self, timeout: float | None = None) -> Ready:
        self.due = False
        end = None if timeout is None else time.monotonic() + timeout
        self._poll.turn(FOREVER if timeout is None else max(timeout, 0.0))
        while not (self.due or self._ready):
            left = FOREVER if end is None else end - time.monotonic()
            if end is not None and left <= 0:
                break
            self._poll.turn(left)
        ready = self._ready.copy()
        self._ready.clear()
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._known

    def close(self) -> None:
        self._asked.clear()
        self._poll.close()


class Loop(asyncio.SelectorEventLoop):
    """Tells its selector when it is given something to do. What other threads give it comes over a pipe of its own."""

    def __init__(self, poll: Poll) -> None:
        self._waits = Selector(poll)
        super().__init__(self._waits)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._waits.due = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._waits.due = True
        return super().call_at(when, callback, *args, context=context)


def _number(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


def _mask(events: int) -> int:
    return (IN if events & selectors.EVENT_READ else 0) | (OUT if events & selectors.EVENT_WRITE else 0)
