"""The end of what one invocation has printed, for a caller who asks for it (Lambda's `LogType: Tail`).

Standard output and standard error of Python are wrapped: what is printed goes on to where it went, and its end is kept
for the invocation that printed it, told by the context of its task or thread. What a program that the function starts
writes to the descriptors is not seen.
"""

import base64
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any

from .context import Context

MOST = 4096
"""Bytes."""


class Tail:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._began = time.monotonic()
        self._kept = b""
        self.add(f"START RequestId: {context.aws_request_id} Version: {context.function_version}\n")

    def add(self, text: str) -> None:
        self._kept = (self._kept + text[-MOST:].encode(errors="replace"))[-MOST:]

    def end(self) -> tuple[str, str]:
        """The header that tells it."""
        milliseconds = (time.monotonic() - self._began) * 1000
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        request = f"RequestId: {self._context.aws_request_id}"
        if self._kept[-1:] != b"\n":
            self.add("\n")
        self.add(f"END {request}\n")
        self.add(
            f"REPORT {request}\tDuration: {milliseconds:.2f} ms\t"
            f"Memory Size: {self._context.memory_limit_in_mb} MB\tMax Memory Used: {used} MB\t\n"
        )
        return "x-amz-log-result", base64.b64encode(self._kept).decode()


_tail: ContextVar[Tail | None] = ContextVar("tail", default=None)


class _Kept:
    """A text stream that is written to as before, with what is written kept."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if (tail := _tail.get()) is not None:
            tail.add(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def install() -> None:
    """Before the function is imported, which may keep the streams that it finds."""
    sys.stdout, sys.stderr = _Kept(sys.stdout), _Kept(sys.stderr)


@contextmanager
def keeping(context: Context) -> Iterator[Tail]:
    """Of what is printed in the context's tasks and threads."""
    tail = Tail(context)
    token = _tail.set(tail)
    try:
        yield tail
    finally:
        _tail.reset(token)
