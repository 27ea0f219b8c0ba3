"""What a worker counts by user and of reports, in memory that outlives it: the words of `hotswap.usage`.

A *sheet* stands beside each row of the counter file, behind all rows, in the same file. It takes memory only once users
are tied to versions, or something is reported. Names stand in the sheet itself, where their writer has put them: each
worker in its own order, so that nobody has to be asked when a new one comes.

A row that goes to another owner leaves its sheet empty: the parent takes the memory away, when nobody writes there.
"""

import mmap
from array import array
from typing import Final

from hotswap.usage import LONGEST_NAME, MOST_NAMES, VALUES, Reported, Usage, value_bucket
from hotswap.users import CELLS, GROUP_CELLS, GROUPS
from router.codec.reports import Reports

WORD: Final = 8
"""Bytes."""
INVOCATIONS: Final = CELLS // 64
"""The places of words in a sheet; before this one, the bits of the cells."""
ERRORS: Final = INVOCATIONS + GROUPS
MICROSECONDS: Final = ERRORS + GROUPS
MALFORMED: Final = MICROSECONDS + GROUPS
CROWDED: Final = MALFORMED + 1
REPORTED: Final = CROWDED + 1
"""`MOST_NAMES` times what is told of one name."""

COUNT: Final = LONGEST_NAME // WORD
"""The places of words of one name; before this one, the name. While this word is 0 the place is free."""
SUM: Final = COUNT + 1
SQUARES: Final = SUM + 1
SUMS: Final = SQUARES + 1
COUNTS: Final = SUMS + GROUPS
WHO: Final = COUNTS + GROUPS
SPREAD: Final = WHO + CELLS // 64
NAMED: Final = SPREAD + VALUES

PAGES: Final = -(-(REPORTED + MOST_NAMES * NAMED) * WORD // mmap.PAGESIZE)
SHEET: Final = PAGES * mmap.PAGESIZE // WORD
"""Words from one sheet to the next: whole pages, so that each can be given back."""
NO_CELL: Final = -1
"""In the place of a cell: nobody is tied to a version."""


class Sheets:
    """The sheets of one file, which begin at a byte at the begin of a page; closed by who owns the map."""

    def __init__(self, memory: mmap.mmap, begin: int) -> None:
        self._memory = memory
        self._begin = begin
        self._words = memoryview(memory)[begin:].cast("Q")
        self._numbers = memoryview(memory)[begin:].cast("d")

    def user(self, row: int, cell: int, *, failed: bool, seconds: float) -> None:
        """An invocation of a user."""
        words, sheet = self._words, row * SHEET
        words[sheet + (cell >> 6)] |= 1 << (cell & 63)
        at = sheet + cell // GROUP_CELLS
        words[at + INVOCATIONS] += 1
        words[at + MICROSECONDS] += int(seconds * 1_000_000)
        if failed:
            words[at + ERRORS] += 1

    def report(self, row: int, cell: int, reports: Reports) -> None:
        """What an answer reports; `cell` may be `NO_CELL`."""
        sheet = row * SHEET
        self._words[sheet + MALFORMED] += reports.malformed
        for name, value in reports.values:
            at = self._place(sheet, name)
            if at:
                self._add(at, cell, value)
            else:
                self._words[sheet + CROWDED] += 1

    def read(self, row: int) -> Usage:
        words, sheet = self._words, row * SHEET
        users = bytes(self._bytes(sheet, INVOCATIONS))
        return Usage(
            users=users if any(users) else b"",
            invocations=self._told(sheet + INVOCATIONS),
            errors=self._told(sheet + ERRORS),
            microseconds=self._told(sheet + MICROSECONDS),
            reported=dict(self._reported(at) for at in self._places(sheet) if words[at + COUNT]),
            malformed=words[sheet + MALFORMED],
            crowded=words[sheet + CROWDED],
        )

    def forget(self, row: int) -> None:
        self._memory.madvise(mmap.MADV_REMOVE, self._begin + row * SHEET * WORD, SHEET * WORD)

    def close(self) -> None:
        self._words.release()
        self._numbers.release()

    def _place(self, sheet: int, name: bytes) -> int:
        """Of a name, be it new; 0 if there are too many others."""
        for at in self._places(sheet):
            if not self._words[at + COUNT]:
                self._write_name(at, name)
                return at
            if self._name(at) == name:
                return at
        return 0

    def _add(self, at: int, cell: int, value: float) -> None:
        """The count last: who reads finds the name and the sums of what is counted."""
        words, numbers = self._words, self._numbers
        numbers[at + SUM] += value
        numbers[at + SQUARES] += value * value
        words[at + SPREAD + value_bucket(value)] += 1
        if cell != NO_CELL:
            group = cell // GROUP_CELLS
            numbers[at + SUMS + group] += value
            words[at + COUNTS + group] += 1
            if value > 0:
                words[at + WHO + (cell >> 6)] |= 1 << (cell & 63)
        words[at + COUNT] += 1

    def _reported(self, at: int) -> tuple[str, Reported]:
        words, numbers = self._words, self._numbers
        reported = Reported(
            count=words[at + COUNT],
            sum=numbers[at + SUM],
            squares=numbers[at + SQUARES],
            sums={group: one for group, one in enumerate(numbers[at + SUMS : at + COUNTS]) if one},
            counts={group: one for group, one in enumerate(words[at + COUNTS : at + WHO]) if one},
            who={group: one for group in range(GROUPS) if any(one := self._who(at, group))},
            values={bucket: one for bucket, one in enumerate(words[at + SPREAD : at + NAMED]) if one},
        )
        return self._name(at).decode(), reported

    def _who(self, at: int, group: int) -> bytes:
        size = GROUP_CELLS // 64
        return bytes(self._bytes(at + WHO + group * size, size))

    def _places(self, sheet: int) -> range:
        return range(sheet + REPORTED, sheet + REPORTED + MOST_NAMES * NAMED, NAMED)

    def _name(self, at: int) -> bytes:
        return bytes(self._bytes(at, COUNT)).rstrip(b"\0")

    def _write_name(self, at: int, name: bytes) -> None:
        self._words[at : at + COUNT] = memoryview(array("Q", name.ljust(LONGEST_NAME, b"\0")))

    def _bytes(self, at: int, count: int) -> memoryview:
        return self._words[at : at + count].cast("B")

    def _told(self, at: int) -> list[int]:
        """By group; empty where there is nothing."""
        found = self._words[at : at + GROUPS].tolist()
        return found if any(found) else []
