"""What an instance has in flight, as it tells that in the file of `runtime.load`."""

import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from agent.runtime.load import CELLS, SIZE

FORMAT = struct.Struct(f"@{CELLS}Q")
NANO = 1e-9


@dataclass(frozen=True, slots=True)
class Reading:
    in_flight: int
    busy: float
    """Seconds for which invocations were in flight, of all of them added up: it grows by their average each second."""
    idle: float
    """Seconds since the last one ended, or since it was ready; 0 while one is in flight."""
    owed: float
    """Seconds for which that answer is owed which is owed longest, without those in which its client was waited for."""
    held: float
    """Seconds for which its loop has not run; 0 before it was ready."""
    first_ms: float | None
    """From when it was ready to the end of its first answer; `None` before that."""


class Load:
    def __init__(self, path: Path) -> None:
        """Raises `OSError`."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> Reading | None:
        """`None` when the function has spoilt the file."""
        told = os.pread(self._descriptor, SIZE, 0)
        return reading(told, now=time.monotonic_ns()) if len(told) == SIZE else None

    def close(self) -> None:
        os.close(self._descriptor)


def reading(told: bytes, *, now: int) -> Reading:
    """`now` is in nanoseconds, as are the cells."""
    in_flight, busy, changed, ready, first, beat, oldest = FORMAT.unpack(told)
    since = max(0, now - changed) * NANO
    return Reading(
        in_flight=in_flight,
        busy=busy * NANO + in_flight * since,
        idle=0.0 if in_flight else since,
        owed=max(0, now - oldest) * NANO if oldest else 0.0,
        held=max(0, now - beat) * NANO if beat else 0.0,
        first_ms=(first - ready) * NANO * 1e3 if first else None,
    )
