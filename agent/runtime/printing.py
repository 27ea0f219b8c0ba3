"""What a function prints, line by line with the time and the invocation (`lines`).

It takes the place of `sys.stdout` and `sys.stderr` and writes to a descriptor of its own, so that a function which
closes descriptor 1 does not lose its output, nor write it into what has that number next. A line belongs to the
invocation in whose context it was printed; parts of lines are kept apart, so that those of several at once do not mix.

A function that prints more than can be kept is not held up: what is too much is dropped and counted.
"""

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from . import lines

LINE_CHARACTERS = 16_384
"""A longer line is cut, and says so."""
BURST = 2 << 20
RATE = 1 << 20
"""Characters that may be printed at once, and in a second on average."""
OPEN_LINES = 10_000
"""Invocations of which a line without end is kept."""

request: ContextVar[str] = ContextVar("request", default="")
"""Of the invocation that is handled in this context."""
listener: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=None)
"""Is told what is printed in this context, as it is printed."""


class Budget:
    """How much may be printed now."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._at = clock()
        self.lines = 0
        """That were dropped since this was last told."""
        self.characters = 0

    def takes(self, line: str) -> bool:
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._at) * RATE)
        self._at = now
        if len(line) > self._left:
            self.lines += 1
            self.characters += len(line)
            return False
        self._left -= len(line)
        return True

    def told(self) -> str:
        """What was dropped, in words; empty for nothing. It begins to count anew."""
        if not self.lines:
            return ""
        text = f"{self.lines} lines of {self.characters} characters were dropped: {RATE >> 20} MiB/s may be printed"
        self.lines = self.characters = 0
        return text


class Printed(io.TextIOBase):
    """One stream for both of them; `descriptor` is what its `fileno` says, for what a function starts itself."""

    def __init__(self, to: int, descriptor: int, budget: Budget) -> None:
        self._to = to
        self._descriptor = descriptor
        self._budget = budget
        self._lock = threading.RLock()
        self._open: dict[str, str] = {}
        """Beginnings of lines, by invocation."""
        self.buffer = Bytes(self)

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if listens := listener.get():
                listens(text)
            of = request.get()
            whole, end, rest = (self._open.pop(of, "") + text).rpartition("\n")
            if end:
                self._emit(whole.split("\n"), of)
            if len(rest) > LINE_CHARACTERS * 4 or (rest and len(self._open) >= OPEN_LINES):
                self._emit([rest], of)
            elif rest:
                self._open[of] = rest
        return len(text)

    def end(self, of: str) -> None:
        """The invocation is over: tells the line that it left without end, and what was dropped."""
        with self._lock:
            if rest := self._open.pop(of, ""):
                self._emit([rest], of)
            if self._budget.lines:
                self._emit([], of)

    def _emit(self, texts: list[str], of: str) -> None:
        now, out = time.time(), []
        for text in texts:
            line = shortened(text)
            if self._budget.takes(line):
                if dropped := self._budget.told():
                    out.append(lines.framed(dropped, at=now, request=lines.PLATFORM))
                out.append(lines.framed(line, at=now, request=of))
        if not texts:
            out.append(lines.framed(self._budget.told(), at=now, request=lines.PLATFORM))
        if out:
            self._out("".join(out).encode(errors="backslashreplace"))

    def _out(self, content: bytes) -> None:
        while content:
            try:
                content = content[os.write(self._to, content) :]
            except OSError:  # the disk is full, or the file too long: printing must not fail the function
                return

    def close_lines(self) -> None:
        """Of whatever invocation; the process ends."""
        for of in list(self._open):
            self.end(of)


class Bytes(io.RawIOBase):
    """For those who print bytes."""

    def __init__(self, text: Printed) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def write(self, content: bytes) -> int:  # type: ignore[override] # wider in the stubs: any buffer
        self._text.write(bytes(content).decode(errors="backslashreplace"))
        return len(content)


_streams: list[Printed] = []


@contextmanager
def taken() -> Iterator[None]:
    """Within the context, what is printed goes this way."""
    budget = Budget(time.monotonic)
    to = os.dup(1)
    before = sys.stdout, sys.stderr
    _streams[:] = [Printed(to, descriptor, budget) for descriptor in (1, 2)]
    sys.stdout, sys.stderr = _streams
    try:
        yield
    finally:
        for stream in _streams:
            stream.close_lines()
        _streams.clear()
        sys.stdout, sys.stderr = before
        os.close(to)


@contextmanager
def printed_by(invocation: str) -> Iterator[None]:
    """What is printed in this context is the invocation's."""
    before = request.set(invocation)
    try:
        yield
    finally:
        request.reset(before)
        for stream in _streams:
            stream.end(invocation)


def shortened(text: str) -> str:
    text = text.removesuffix("\r")
    if len(text) <= LINE_CHARACTERS:
        return text
    return f"{text[:LINE_CHARACTERS]}… (cut: it has {len(text)} characters)"
