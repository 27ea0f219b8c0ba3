"""What instances print: one file each, written by the instance itself, so that the agent's death breaks no pipe.

The files are opened for appending; that lets the agent cut a file that grew too long under the writer's hands.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_BYTES = 4 << 20
"""A file that grew over this is cut to its last quarter."""
KEPT_FILES = 20
"""Files of ended instances that are kept of each function."""
TAIL_BYTES = 64 << 10
FOLLOW_EVERY = 0.2
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Line:
    instance: str
    version: int
    text: str


class Outputs:
    """The files of a node: `{function}/{version}/{instance}.log`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, function: str, version: int, instance: str) -> Path:
        path = self._folder / function / str(version) / f"{instance}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def has(self, function: str) -> bool:
        return bool(self._files(function, 0))

    def prune(self, function: str, *, running: set[str]) -> None:
        """Removes the oldest files of instances that are gone."""
        ended = [path for path in self._files(function, 0) if path.stem not in running]
        for path in ended[: max(0, len(ended) - KEPT_FILES)]:
            path.unlink(missing_ok=True)

    def last(self, function: str, version: int, lines: int) -> Iterator[Line]:
        """The last lines of each instance; 0 for all that is kept, and version 0 for every version."""
        for path in self._files(function, version):
            text = path.read_text(errors="replace").splitlines()
            yield from (_line(path, one) for one in (text[-lines:] if lines else text))

    async def follow(self, function: str, version: int) -> AsyncIterator[Line]:
        """Lines as they are written from now on, until the caller has enough."""
        read = {path: path.stat().st_size for path in self._files(function, version)}
        while True:
            for path in self._files(function, version):
                for text in _grown(path, read):
                    yield _line(path, text)
            await asyncio.sleep(FOLLOW_EVERY)

    def _files(self, function: str, version: int) -> list[Path]:
        """Oldest first."""
        found = (self._folder / function).glob(f"{version or '*'}/*.log")
        return sorted(found, key=lambda path: path.stat().st_mtime)


def tail(path: Path, lines: int = 10) -> str:
    """The last lines of a file, for an error's text."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def cut(path: Path) -> None:
    """Keeps the last quarter of a file that grew too long; what is written meanwhile may be lost."""
    try:
        if path.stat().st_size <= FILE_BYTES:
            return
    except FileNotFoundError:
        return
    with path.open("r+b") as file:
        file.seek(-FILE_BYTES // 4, os.SEEK_END)
        kept = file.read().partition(b"\n")[2]
        file.truncate(0)
        file.seek(0)
        file.write(kept)


def _grown(path: Path, read: dict[Path, int]) -> list[str]:
    """The whole lines that were added since `read`, which is brought up to date."""
    start = read.get(path, 0)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(start if size >= start else 0)
            added = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return []
    whole = added[: added.rfind(b"\n") + 1]
    read[path] = (start if size >= start else 0) + len(whole)
    return whole.decode(errors="replace").splitlines()


def _line(path: Path, text: str) -> Line:
    return Line(path.stem, int(path.parent.name), text)
