"""How far the instances of a function are, told to whoever listens."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    FETCHING = "fetching"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    BACKING_OFF = "backing off"
    FAILED = "failed"
    ASLEEP = "asleep"
    """No process runs; the first connection to its endpoint wakes one."""
    WAKING = "waking"


@dataclass(frozen=True, slots=True)
class Progress:
    function: str
    version: int
    instance: str
    """Empty before there is a process."""
    state: State
    text: str = ""
    revision: int = 0
    """At which the endpoint was published (READY) or withdrawn (DRAINING)."""


Queue = asyncio.Queue[Progress]


class Listeners:
    def __init__(self) -> None:
        self._queues: dict[str, set[Queue]] = {}

    def tell(self, progress: Progress) -> None:
        for queue in self._queues.get(progress.function, ()):
            queue.put_nowait(progress)

    @contextmanager
    def listening(self, function: str) -> Iterator[Queue]:
        queue: Queue = asyncio.Queue()
        queues = self._queues.setdefault(function, set())
        queues.add(queue)
        try:
            yield queue
        finally:
            queues.discard(queue)
            if not queues and self._queues.get(function) is queues:
                del self._queues[function]
