"""The end of what one invocation has printed, for a caller who asks for it (Lambda's `LogType: Tail`).

It is told by `printing`, in whose context what is printed belongs to the invocation. What a program that the function
starts writes to the descriptors is not seen.
"""

import base64
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .context import Context
from .printing import listener

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


@contextmanager
def keeping(context: Context) -> Iterator[Tail]:
    """Of what is printed in the context's tasks and threads."""
    tail = Tail(context)
    token = listener.set(tail.add)
    try:
        yield tail
    finally:
        listener.reset(token)
