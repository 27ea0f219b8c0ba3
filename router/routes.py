"""The table at work in one worker: the place of each split, the endpoints with their connections, the rows to count in.

A lane asks `find` for the route that a qualifier names, the route for a version, and `endpoints` for where that runs.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hotswap.model import FULL_WEIGHT
from router.endpoints import Endpoints
from router.rows import Row
from router.split import Split, slot, sticky_pick
from router.table import AliasEntry, FunctionTable, Missing, Table, Update, VersionEntry


@dataclass(slots=True)
class Route:
    """Where the invocations of one qualifier go: an alias, or a version that was named itself."""

    function: str
    alias: str = ""
    """Empty for a version."""
    weights: dict[int, int] = field(default_factory=dict)
    split: Split | None = None
    entry: AliasEntry | None = None
    rows: dict[int, int] = field(default_factory=dict)
    """Where to count, by version."""

    @property
    def sticky_by(self) -> str:
        return self.entry.sticky.by if self.entry and self.entry.sticky else ""

    @property
    def latency_limit(self) -> float:
        limit = self.entry.latency_limit if self.entry else None
        return limit if limit is not None else float("inf")

    def pick(self, key: str | None = None) -> int:
        """The version of the next invocation; of this user's, where the alias is sticky and the user has a key."""
        if self.split is None:
            return next(iter(self.weights))
        if key is not None and self.entry is not None and self.entry.sticky is not None:
            at = slot(key, salt=self.entry.sticky.salt)
            return sticky_pick(self.weights, at, stable=self.entry.last_good)
        return self.split.pick()


@dataclass(slots=True)
class Standing:
    """What is kept of one function from table to table."""

    function: FunctionTable
    aliases: dict[str, Route] = field(default_factory=dict)
    direct: dict[int, Route] = field(default_factory=dict)
    endpoints: dict[int, Endpoints] = field(default_factory=dict)


Granted = dict[tuple[str, str, int], dict[int, int]]
"""By function, alias and alias revision: the row of each version."""


class Routes:
    def __init__(self, *, workers: int, rng: random.Random, clock: Callable[[], float]) -> None:
        self.table = Table()
        self._workers = workers
        self._rng = rng
        self._clock = clock
        self._standing: dict[str, Standing] = {}

    def apply(self, update: Update, rows: Iterable[Row]) -> None:
        """All of one batch, or nothing of it, as seen by any invocation."""
        self.table = self.table.apply(update)
        granted: Granted = {}
        for owner, index in ((row.owner, row.index) for row in rows):
            granted.setdefault((owner.function, owner.alias, owner.alias_revision), {})[owner.version] = index
        for name in update.functions:
            function = self.table.functions.get(name) or FunctionTable(name)
            standing = self._standing.setdefault(name, Standing(function))
            standing.function = function
            self._apply_aliases(standing, granted)
            for version in {*standing.endpoints, *function.endpoints}:
                self._endpoints(standing, version).replace(function.endpoints.get(version, {}).values())
            known = function.known_versions
            standing.direct = {version: it for version, it in standing.direct.items() if version in known}

    def grant(self, rows: Iterable[Row]) -> None:
        """Rows for versions that were named themselves."""
        for owner, index in ((row.owner, row.index) for row in rows):
            standing = self._standing.get(owner.function)
            if standing and (route := standing.direct.get(owner.version)):
                route.rows[owner.version] = index

    def find(self, function: str, qualifier: str) -> Route | Missing:
        standing = self._standing.get(function)
        if standing and (route := standing.aliases.get(qualifier)):
            return route
        match self.table.find(function, qualifier):
            case VersionEntry(number=number) if standing:
                return standing.direct.setdefault(number, Route(function, weights={number: FULL_WEIGHT}))
            case Missing() as missing:
                return missing
            case entry:
                raise AssertionError(f"{entry} has no route")

    def endpoints(self, function: str, version: int) -> Endpoints:
        """Also of a function that has been removed while an invocation of it is on its way."""
        standing = self._standing.setdefault(function, Standing(FunctionTable(function)))
        return self._endpoints(standing, version)

    def terms(self, function: str, version: int) -> VersionEntry:
        """Of a function that `find` has just found."""
        return self._standing[function].function.terms(version)

    def sweep(self) -> None:
        """Closes what has been idle, and forgets what nobody waits for."""
        for name, standing in list(self._standing.items()):
            for endpoints in standing.endpoints.values():
                endpoints.sweep()
            standing.endpoints = {version: it for version, it in standing.endpoints.items() if not it.idle}
            if standing.function.empty and not standing.endpoints:
                del self._standing[name]

    def close(self) -> None:
        for standing in self._standing.values():
            for endpoints in standing.endpoints.values():
                endpoints.close()

    def _endpoints(self, standing: Standing, version: int) -> Endpoints:
        if version not in standing.endpoints:
            standing.endpoints[version] = Endpoints(workers=self._workers, rng=self._rng, clock=self._clock)
        return standing.endpoints[version]

    def _apply_aliases(self, standing: Standing, granted: Granted) -> None:
        entries = standing.function.aliases
        standing.aliases = {name: route for name, route in standing.aliases.items() if name in entries}
        for name, entry in entries.items():
            route = standing.aliases.setdefault(name, Route(entry.function, name))
            if route.entry is entry:
                continue
            if route.split is None:
                route.split = Split(entry.weights, self._rng)
            elif route.weights != entry.weights:
                route.split.change(entry.weights)
            route.entry, route.weights = entry, entry.weights
            route.rows = granted[entry.function, name, entry.revision]
