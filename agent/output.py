"""What instances print: one file each, written by the instance itself, so that the agent's death breaks no pipe.

The files are opened for appending; that lets the agent cut a file that grew too long under the writer's hands, and
write into it what it has to say of the instance. Our runtime frames what it writes (`runtime.lines`); of what a program
writes the agent notes when it came, each time that it looks.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.runtime import lines

FILE_BYTES = 4 << 20
"""A file that grew over this is cut to its last quarter."""
KEPT_FILES = 20
"""Files of ended instances that are kept of each function."""
TAIL_BYTES = 64 << 10
LINE_BYTES = 16 << 10
"""A longer line is cut when it is told."""
FOLLOW_EVERY = 0.2
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Line:
    instance: str
    version: int
    text: str
    at: float = 0.0
    """Unix time at which it was printed, or for what no runtime of ours has printed, before which it was read."""
    request: str = ""
    """Of the invocation that printed it, where that is known; `!` for what the platform tells."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are asked for."""

    version: int = 0
    """0 for every version."""
    last: int = 0
    """Of each instance; 0 for all that is kept."""
    since: float = 0.0
    """Unix time."""
    request: str = ""

    def fits(self, line: Line) -> bool:
        return line.at >= self.since and self.request in ("", line.request)


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

    def last(self, function: str, wanted: Wanted) -> Iterator[Line]:
        """What is kept, instance by instance; one file at a time is in memory."""
        for path in self._files(function, wanted.version):
            fitting = filter(wanted.fits, _read(path))
            yield from deque(fitting, wanted.last) if wanted.last else fitting

    def sizes(self, function: str, wanted: Wanted) -> dict[Path, int]:
        """How far the files are now; what `follow` begins with."""
        return {path: _size(path) for path in self._files(function, wanted.version)}

    async def follow(self, function: str, wanted: Wanted, read: dict[Path, int]) -> AsyncIterator[Line]:
        """Lines as they are written from there on, until the caller has enough."""
        while True:
            for path in self._files(function, wanted.version):
                for line in filter(wanted.fits, _lines(path, _grown(path, read), time.time())):
                    yield line
            await asyncio.sleep(FOLLOW_EVERY)

    def _files(self, function: str, version: int) -> list[Path]:
        """Oldest first."""
        found = (self._folder / function).glob(f"{version or '*'}/*.log")
        return sorted(found, key=_changed)


def tail(path: Path, count: int = 10) -> str:
    """The last lines of a file, for an error's text."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    told = [said for _, _, said in map(lines.parse, text) if said]
    return "\n".join(told[-count:])


def tell(path: Path, text: str, *, at: float) -> None:
    """Has the platform say something in an instance's output."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(lines.framed(line, at=at, request=lines.PLATFORM) for line in text.splitlines()))


def cut(path: Path) -> None:
    """Keeps the last quarter of a file that grew too long, and says so; what is written meanwhile may be lost."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size <= FILE_BYTES:
        return
    with path.open("r+b") as file:
        file.seek(-FILE_BYTES // 4, os.SEEK_END)
        kept = file.read().partition(b"\n")[2]
        told = f"{size - len(kept)} bytes before this were let go: {FILE_BYTES >> 20} MiB are kept of an instance"
        file.truncate(0)
        file.seek(0)
        file.write(lines.framed(told, at=time.time(), request=lines.PLATFORM).encode() + kept)


def mark(path: Path, size: int, *, at: float) -> int:
    """Notes the time in a file that has grown over this size by what does not tell its own; its size now."""
    try:
        with path.open("r+b") as file:
            now = file.seek(0, os.SEEK_END)
            file.seek(max(0, now - LINE_BYTES))
            *_, line, rest = (b"", *file.read().split(b"\n"))
    except FileNotFoundError:
        return 0
    if now == size or rest or line.startswith(lines.BEGIN.encode()):
        return now
    with path.open("ab") as file:
        file.write(lines.framed("", at=at, request="").encode())
        return file.tell()


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


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
    if not whole and len(added) == TAIL_BYTES:
        whole = added  # a line that is longer than what is read at once is told in pieces
    read[path] = (start if size >= start else 0) + len(whole)
    return whole.decode(errors="replace").split("\n")


def _read(path: Path) -> Iterable[Line]:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            file.seek(max(0, found.st_size - FILE_BYTES))
            text = file.read(FILE_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ()
    return _lines(path, text.split("\n"), found.st_mtime)


def _lines(path: Path, texts: Iterable[str], before: float) -> Iterator[Line]:
    """What does not tell its time was printed before the next line that does, or before `before`."""
    instance, version = path.stem, int(path.parent.name)
    waiting: list[str] = []
    for one in texts:
        at, request, text = lines.parse(one)
        if at is None:
            waiting += [text] if text else []
            continue
        yield from (Line(instance, version, _shortened(raw), at) for raw in waiting)
        waiting = []
        if text:
            yield Line(instance, version, _shortened(text), at, request)
    yield from (Line(instance, version, _shortened(raw), before) for raw in waiting)


def _shortened(text: str) -> str:
    if len(text) <= LINE_BYTES:
        return text
    return f"{text[:LINE_BYTES]}… (cut: it has {len(text)} characters)"
