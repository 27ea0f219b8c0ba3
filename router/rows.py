"""Which row of the counter files is whose; kept by the parent alone, so that all workers write to the same ones.

Each (function, alias, version, alias revision) has a row, so that the figures of a phase are its own. Superseded
revisions would make that grow without bound: once nobody writes to such a row any more, and it is old, or there are
many newer ones, or half of all rows are taken, what it holds is added to the totals of its (function, alias, version),
and the row is free for another owner. Nobody but its writer changes a count: what a row held when it was given out is
its baseline, and what came after is its owner's. Of its sheet (`router.usage`) only what was reported is added, as far
as `/metrics` tells it; the users of superseded weights are not compared any more, and the sheet is emptied.

So `/metrics`, which tells totals, never goes backward, and `/counters` tells each live revision by itself and the older
ones of a version together, under revision 0.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from hotswap.metrics import ROW, CounterRow, Tally
from hotswap.usage import Usage
from router.counters import CAPACITY, CounterFile
from router.table import AliasEntry, FunctionTable, Table

KEEP_ROWS = 32
"""How many superseded rows an alias keeps at most ..."""
KEEP_SECONDS = 900.0
"""... and for how long."""
FOLDED = 0
"""Alias revision under which what was folded is told."""


class Owner(msgspec.Struct, frozen=True, array_like=True, gc=False):
    function: str
    alias: str
    """Empty for invocations that named their version."""
    version: int
    alias_revision: int


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    owner: Owner
    index: int


@dataclass(slots=True)
class _Live:
    index: int
    baseline: list[int] | None
    """What it held when it was given out; `None` when nobody had it before."""
    superseded: float | None = None
    """Since when nobody is given this row."""


Total = tuple[str, str, int]
"""Function, alias, version."""


class Rows:
    def __init__(self, *, clock: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._files: list[CounterFile] = []
        self._live: dict[Owner, _Live] = {}
        self._owners: dict[int, Owner] = {}
        """The same by the row."""
        self._by_function: defaultdict[str, set[Owner]] = defaultdict(set)
        self._named: dict[Owner, int] = {}
        """The rows of versions that were named themselves."""
        self._folded: defaultdict[str, dict[Total, list[int]]] = defaultdict(dict)
        """By function."""
        self._folded_usage: dict[Total, Usage] = {}
        """What was reported."""
        self._superseded: dict[Owner, None] = {}
        """The oldest first."""
        self._by_alias: defaultdict[tuple[str, str], dict[Owner, None]] = defaultdict(dict)
        """The same by function and alias."""
        self._crowded: set[tuple[str, str]] = set()
        """Aliases that have more of them than are kept."""
        self._free: list[_Live] = []
        self._used = 1

    @property
    def used(self) -> range:
        """The rows that were ever given out; row 0 is the worker's own."""
        return range(1, self._used)

    @property
    def files(self) -> list[CounterFile]:
        return self._files

    def add(self, file: CounterFile) -> None:
        """A new file, that nobody has written to."""
        self._files.append(file)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def grant(self, owner: Owner) -> Row:
        """The owner's row, which it keeps until it is superseded."""
        live = self._live.get(owner)
        if live is None:
            live = self._live[owner] = self._take()
            self._owners[live.index] = owner
            self._by_function[owner.function].add(owner)
            if not owner.alias:
                self._named[owner] = live.index
        elif live.superseded is not None:
            self._revive(owner, live)
        return Row(owner, live.index)

    def follow(self, table: Table, functions: Iterable[str]) -> list[Row]:
        """Rows for what these functions' aliases give weight to; what they no longer do is superseded."""
        granted: list[Row] = []
        for name in functions:
            function = table.functions.get(name) or FunctionTable(name)
            wanted = [owner for alias in function.aliases.values() for owner in _owners(alias)]
            granted += [self.grant(owner) for owner in wanted]
            self._supersede(name, {*wanted, *self._direct(function)})
        return granted

    def owner(self, index: int) -> Owner | None:
        """`None` where the row is nobody's any more."""
        return self._owners.get(index)

    def named(self) -> list[Owner]:
        """Versions that are named themselves by invocations under way."""
        return [owner for owner, index in self._named.items() if self._in_flight(index)]

    def granted(self) -> list[Row]:
        return [Row(owner, live.index) for owner, live in self._live.items() if live.superseded is None]

    def fold(self) -> None:
        """Frees rows. To be called only when no worker picks by a table that superseded ones are named in."""
        due = set(self._due())
        written = self._written() if due else set()
        for owner in due:
            live = self._live[owner]
            if live.index not in written or not self._in_flight(live.index):
                self._fold(owner, live, written=live.index in written)

    def tell(self, function: str) -> list[CounterRow]:
        """Each live revision by itself, and the older ones of each version together."""
        told = [
            (owner, self._counts(live), self._in_flight(live.index), self._usage(live.index))
            for owner in self._by_function.get(function, ())
            if (live := self._live[owner])
        ]
        told += [(Owner(*total, FOLDED), counts, 0, None) for total, counts in self._folded.get(function, {}).items()]
        return [
            CounterRow(
                function=owner.function,
                alias=owner.alias,
                version=owner.version,
                alias_revision=owner.alias_revision,
                tally=Tally(counts=counts),
                in_flight=in_flight,
                usage=usage,
            )
            for owner, counts, in_flight, usage in sorted(
                told, key=lambda it: (it[0].alias, it[0].version, it[0].alias_revision)
            )
        ]

    def by_revision(self) -> list[CounterRow]:
        """All that is counted under the weights of an alias, without users; no invocations are told as well."""
        written = self._written()
        return [
            CounterRow(
                function=owner.function,
                alias=owner.alias,
                version=owner.version,
                alias_revision=owner.alias_revision,
                tally=Tally(counts=self._counts(live)) if live.index in written else Tally.zero(),
            )
            for owner, live in self._live.items()
            if owner.alias
        ]

    def totals(self) -> dict[Total, tuple[list[int], int]]:
        """Counts, and how many are in flight, by function, alias and version; of those that were ever invoked."""
        counts = {total: list(folded) for totals in self._folded.values() for total, folded in totals.items()}
        in_flight: defaultdict[Total, int] = defaultdict(int)
        written = self._written()
        for owner, live in self._live.items():
            if live.index in written:
                total = (owner.function, owner.alias, owner.version)
                counts[total] = _plus(counts.get(total), self._counts(live))
                in_flight[total] += self._in_flight(live.index)
        return {total: (row, in_flight[total]) for total, row in counts.items() if in_flight[total] or any(row)}

    def reported(self) -> dict[Total, Usage]:
        """What functions have reported, by function, alias and version."""
        written = {row for file in self._files for row in file.written_sheets(self.used)}
        told = defaultdict[Total, list[Usage]](list)
        for total, folded in self._folded_usage.items():
            told[total].append(folded)
        for owner, live in self._live.items():
            if live.index in written and (usage := self._usage(live.index)) is not None:
                told[owner.function, owner.alias, owner.version].append(usage)
        return {total: Usage.total(several) for total, several in told.items()}

    def _take(self) -> _Live:
        if self._free:
            return self._free.pop()
        if self._used >= self._capacity:
            raise RuntimeError(f"all {self._capacity} rows of the counter files are in use")
        self._used += 1
        return _Live(self._used - 1, None)

    def _written(self) -> set[int]:
        """Rows that may hold something."""
        return {row for file in self._files for row in file.written(self.used)}

    def _sum(self, index: int) -> list[int]:
        total = [0] * ROW
        for file in self._files:
            total = _plus(total, file.read(index))
        return total

    def _counts(self, live: _Live) -> list[int]:
        counts = self._sum(live.index)
        return [now - then for now, then in zip(counts, live.baseline, strict=True)] if live.baseline else counts

    def _usage(self, index: int) -> Usage | None:
        """`None` while nobody has written to its sheet."""
        one = range(index, index + 1)
        told = [file.sheets.read(row) for file in self._files for row in file.written_sheets(one)]
        return Usage.total(told) if told else None

    def _in_flight(self, index: int) -> int:
        return sum(file.in_flight(index) for file in self._files)

    def _direct(self, function: FunctionTable) -> Iterator[Owner]:
        """Rows of versions that were named themselves: they hold for as long as the version is known."""
        known = function.known_versions
        return (it for it in self._by_function[function.name] if not it.alias and it.version in known)

    def _supersede(self, function: str, wanted: set[Owner]) -> None:
        for owner in self._by_function[function] - wanted:
            live, alias = self._live[owner], (owner.function, owner.alias)
            if live.superseded is None:
                live.superseded = self._clock()
                self._superseded[owner] = self._by_alias[alias][owner] = None
                if len(self._by_alias[alias]) > KEEP_ROWS:
                    self._crowded.add(alias)

    def _revive(self, owner: Owner, live: _Live) -> None:
        """It is superseded no more, or is gone."""
        live.superseded = None
        alias = (owner.function, owner.alias)
        del self._superseded[owner], self._by_alias[alias][owner]
        if len(self._by_alias[alias]) <= KEEP_ROWS:
            self._crowded.discard(alias)
        if not self._by_alias[alias]:
            del self._by_alias[alias]

    def _due(self) -> Iterator[Owner]:
        """Superseded rows that are not kept any longer."""
        now, too_many = self._clock(), len(self._live) - self._capacity // 2
        for place, owner in enumerate(self._superseded):
            since = self._live[owner].superseded
            if place >= too_many and since is not None and now - since < KEEP_SECONDS:
                break
            yield owner
        for alias in self._crowded:
            yield from list(self._by_alias[alias])[:-KEEP_ROWS]

    def _fold(self, owner: Owner, live: _Live, *, written: bool) -> None:
        if written:
            total = (owner.function, owner.alias, owner.version)
            folded = self._folded[owner.function]
            folded[total] = _plus(folded.get(total), self._counts(live))
        self._empty_sheet(owner, live.index)
        self._revive(owner, live)
        self._by_function[owner.function].discard(owner)
        self._named.pop(owner, None)
        self._free.append(_Live(live.index, self._sum(live.index) if written else None))
        del self._live[owner], self._owners[live.index]

    def _empty_sheet(self, owner: Owner, index: int) -> None:
        usage = self._usage(index)
        if usage is None:
            return
        for file in self._files:
            file.sheets.forget(index)
        total = (owner.function, owner.alias, owner.version)
        several = [usage.reports, *filter(None, [self._folded_usage.get(total)])]
        self._folded_usage[total] = Usage.total(several)


def _owners(alias: AliasEntry) -> list[Owner]:
    return [Owner(alias.function, alias.name, it, alias.revision) for it, weight in alias.weights.items() if weight]


def _plus(one: list[int] | None, other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)] if one else other
