"""What a worker counts, in memory that outlives it.

A file of 64-bit words, without a name (a memfd), made by the parent and mapped by one worker at a time: one writer, no
locks, and the parent reads while the worker writes (an aligned word is written whole). When a worker is killed, all it
counted is there; its successor goes on in a file that no one writes to any more.

Row 0 is the worker's own: `Own`, and behind it, in a ring, the rows on which an invocation was bad last. So a parent
that looks at one word knows whether there was any, and need not go over all rows. Each of the others is a row of
`hotswap.metrics`, and one word more for how many invocations are in flight on it; `router.rows` says which row is
whose. Behind the rows each has its sheet (`router.usage`). A page of the file takes memory only once one of its rows,
or its sheet, has been used.
"""

import errno
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, Self

from hotswap.metrics import BOUNDARIES, ERRORS, FIXED, ROW, Count
from router.codec.reports import Reports
from router.usage import NO_CELL, SHEET, Sheets

MICROSECONDS: Final = int(Count.MICROSECONDS)
BUCKETS: Final = FIXED
BOUNDS: Final = BOUNDARIES
IN_FLIGHT: Final = ROW
"""Place of the word that tells how many are in flight, after those of `hotswap.metrics`."""
STRIDE: Final = ROW + 1
WORD: Final = 8
"""Bytes."""
CAPACITY: Final = 262_144
"""Rows of a file: enough for 10,000 functions with 26 live (alias, version, alias revision) each."""

PLATFORM: Final = int(Count.PLATFORM)
WELL: Final = int(Count.CLIENT_ERROR)
"""The outcomes up to this one are no errors."""
BAD: Final = 15
"""Place of the word that tells how many bad invocations there were: errors, and slower than the alias's limit."""
RING: Final = 16
PLACES: Final = 128
"""The ring: the row of the n-th of them is at place n modulo so many. All of it lies in row 0."""
FAILED: Final = frozenset(map(int, ERRORS))
_bucket: Final = bisect_left


class Own(IntEnum):
    """What a worker counts apart from invocations of a version, in row 0."""

    MALFORMED = 0
    """Requests that are not HTTP."""
    REFUSED = 1
    """Requests that the router answered by itself: no such function, too large, not allowed."""
    RETRIES = 2
    EJECTIONS = 3
    HELD = 4
    """Invocations that had to wait for an endpoint."""


class CounterFile:
    """Closed by who made it; what was read from it stays good."""

    def __init__(self, fd: int, *, capacity: int = CAPACITY) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _size(capacity))
        self.words = memoryview(self._map).cast("Q")
        self._sheets_begin = _sheets_begin(capacity)
        self.sheets = Sheets(self._map, self._sheets_begin)

    @classmethod
    def create(cls, name: str, *, capacity: int = CAPACITY) -> Self:
        fd = os.memfd_create(f"hotswap-{name}", os.MFD_CLOEXEC)
        os.ftruncate(fd, _size(capacity))
        return cls(fd, capacity=capacity)

    def read(self, row: int) -> list[int]:
        return self.words[row * STRIDE : row * STRIDE + ROW].tolist()

    def in_flight(self, row: int) -> int:
        return self.words[row * STRIDE + IN_FLIGHT]

    def own(self, count: Own) -> int:
        return self.words[count]

    def bad(self, after: int) -> tuple[int, set[int]]:
        """How many bad invocations there were, and the rows of those after that many; of more than the ring holds
        the rows of the newest."""
        now = self.words[BAD]
        return now, {self.words[RING + number % PLACES] for number in range(max(after, now - PLACES), now)}

    def written(self, rows: range) -> Iterator[int]:
        """Those of the rows that share a page with one that was written to. To read another would take memory for its
        page, and it holds nothing."""
        return self._written(rows, 0, STRIDE * WORD)

    def written_sheets(self, rows: range) -> Iterator[int]:
        """Those of the rows whose sheet was written to."""
        return self._written(rows, self._sheets_begin, SHEET * WORD)

    def _written(self, rows: range, origin: int, size: int) -> Iterator[int]:
        """By where the first of all rows, or its sheet, begins, and by its size."""
        at, end = origin + rows.start * size, origin + rows.stop * size
        begin = rows.start
        while at < end:
            try:
                data = os.lseek(self.fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing more
                    return
                raise
            at = os.lseek(self.fd, data, os.SEEK_HOLE)
            found = range(max(begin, (data - origin) // size), min(rows.stop, -((origin - at) // size)))
            yield from found
            begin = max(begin, found.stop)

    def forget_in_flight(self, rows: range) -> None:
        """After its writer was killed: what it had in flight died with it."""
        for row in self.written(rows):
            at = row * STRIDE + IN_FLIGHT
            if self.words[at]:
                self.words[at] = 0

    def close(self) -> None:
        self.sheets.close()
        self.words.release()
        self._map.close()
        os.close(self.fd)


def _sheets_begin(capacity: int) -> int:
    """At the begin of a page."""
    return -(-capacity * STRIDE * WORD // mmap.PAGESIZE) * mmap.PAGESIZE


def _size(capacity: int) -> int:
    return _sheets_begin(capacity) + capacity * SHEET * WORD


class Counting:
    """The writer's side."""

    def __init__(self, file: CounterFile) -> None:
        self._words = file.words
        self._sheets = file.sheets

    def own(self, count: Own) -> None:
        self._words[count] += 1

    def begin(self, row: int) -> None:
        self._words[row * STRIDE + IN_FLIGHT] += 1

    def end(self, row: int, outcome: int, *, seconds: float, slow: bool = False, cold: bool = False) -> None:
        """`outcome` is one of `Count`. `PLATFORM` is not an invocation of the version, and has no duration."""
        words = self._words
        at = row * STRIDE
        words[at + IN_FLIGHT] -= 1
        words[at + outcome] += 1
        if outcome > WELL:
            if outcome == PLATFORM:
                return
            self._bad(row)
        if slow:
            words[at + Count.SLOW] += 1
            self._bad(row)
        if cold:
            words[at + Count.COLD] += 1
        words[at + MICROSECONDS] += int(seconds * 1_000_000)
        words[at + BUCKETS + _bucket(BOUNDS, seconds)] += 1

    def user(self, row: int, cell: int, outcome: int, *, seconds: float) -> None:
        """The same invocation by its user, where users are tied to versions."""
        if outcome != PLATFORM:
            self._sheets.user(row, cell, failed=outcome in FAILED, seconds=seconds)

    def report(self, row: int, cell: int, reports: Reports) -> None:
        """What its answer reports."""
        self._sheets.report(row, cell, reports)

    def _bad(self, row: int) -> None:
        words = self._words
        number = words[BAD]
        words[RING + number % PLACES] = row
        words[BAD] = number + 1


class Pending:
    """An invocation under way, counted once: the first outcome holds."""

    def __init__(self, counting: Counting, row: int, cell: int = NO_CELL) -> None:
        self._counting = counting
        self._row: int | None = row
        self._cell = cell
        counting.begin(row)

    def end(self, outcome: Count, *, seconds: float, slow: bool, cold: bool) -> None:
        row, self._row = self._row, None
        if row is None:
            return
        if self._cell != NO_CELL:
            self._counting.user(row, self._cell, outcome, seconds=seconds)
        self._counting.end(row, outcome, seconds=seconds, slow=slow, cold=cold)

    def report(self, reports: Reports) -> None:
        if self._row is not None:
            self._counting.report(self._row, self._cell, reports)
