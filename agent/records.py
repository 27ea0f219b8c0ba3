"""What is on disk about each instance, so that an agent that starts again can tell its processes from all others.

A record is written before the process is started, again with its identity, and again when it is ready; so there is no
moment at which a process could be left behind unknown.
"""

from enum import Enum, auto
from pathlib import Path

import msgspec

from agent.processes import Identity
from hotswap.model import Version


class Record(msgspec.Struct, frozen=True, kw_only=True):
    instance: str
    version: Version
    port: int
    created: float
    """Unix time."""
    process: Identity | None = None
    """`None` while it is being started."""
    ready: bool = False
    confined: bool = False
    """Its process is a sandbox, which has the program inside."""
    group: str = ""
    """The name of its control groups, where that is not its own."""


class Fate(Enum):
    """What becomes of a recorded instance when an agent starts."""

    ADOPT = auto()
    STOP = auto()
    """It runs and is ours, but was not ready yet."""
    FIND = auto()
    """It may have been started; its pid was not written down."""
    FORGET = auto()
    """It is gone; its pid may be another process's by now."""


def fate(record: Record, *, boot: str, present: Identity | None) -> Fate:
    """`present` is who has the recorded pid now."""
    if record.process is None:
        return Fate.FIND
    if record.process.boot != boot or present != record.process:
        return Fate.FORGET
    return Fate.ADOPT if record.ready else Fate.STOP


class Records:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, record: Record) -> None:
        """Not to the disk itself: with the machine's end the processes end too, and what is cut short is removed."""
        path = self._path(record.instance)
        room = path.with_suffix(".new")
        room.write_bytes(msgspec.json.encode(record))
        room.rename(path)

    def remove(self, instance: str) -> None:
        self._path(instance).unlink(missing_ok=True)

    def has(self, instance: str) -> bool:
        return self._path(instance).exists()

    def all(self) -> list[Record]:
        """Those that can be read; what cannot is removed, since nothing can be adopted by it."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Record))
            except msgspec.DecodeError:
                path.unlink()
        return found

    def _path(self, instance: str) -> Path:
        return self._folder / f"{instance}.json"
