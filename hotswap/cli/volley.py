"""Invocations at a steady rate, and what came of each; as many as are allowed, or until it is enough."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hotswap.cli.invocation import Answer
from hotswap.errors import Unavailable

AT_ONCE = 32
"""Invocations that may be under way; a slow function is invoked less often rather than by more."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One invocation; times are monotonic seconds."""

    sent: float
    answered: float
    version: int | None
    """`None` where no version answered."""
    failed: bool


class Volley:
    def __init__(self, ask: Callable[[], Answer], *, rate: float, most: int) -> None:
        """`ask` may raise `Unavailable`, which counts as failed."""
        self._ask = ask
        self._rate = rate
        self._most = most
        self._lock = threading.Lock()
        self._shots: list[Shot] = []

    @property
    def shots(self) -> list[Shot]:
        """Those that were answered, in the order in which they were sent."""
        with self._lock:
            return sorted(self._shots, key=lambda shot: shot.sent)

    def fire(self, enough: Callable[[], bool]) -> None:
        """Returns when it is enough, or all are sent, and each is answered."""
        begun = time.monotonic()
        free = threading.BoundedSemaphore(AT_ONCE)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="volley") as pool:
            for number in range(self._most):
                time.sleep(max(0.0, begun + number / self._rate - time.monotonic()))
                free.acquire()
                if enough():
                    break
                pool.submit(self._one).add_done_callback(lambda _: free.release())

    def _one(self) -> None:
        sent = time.monotonic()
        try:
            answer = self._ask()
        except Unavailable:
            shot = Shot(sent, time.monotonic(), None, failed=True)
        else:
            version = int(answer.version) if answer.version.isdigit() else None
            shot = Shot(sent, time.monotonic(), version, failed=answer.failed)
        with self._lock:
            self._shots.append(shot)
