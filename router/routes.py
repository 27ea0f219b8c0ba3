"""The table at work in one worker: the place of each split, the endpoints with their connections, the rows to count in.

Of ten thousand functions a worker may see a hundred invoked. So what stands beside the table is made for a function,
and for each of its versions, when it is first asked for; from then on it follows every change.

A lane asks `find` for the route that a qualifier names, the route for a version, and `endpoints` for where that runs.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from hotswap import users
from hotswap.model import FULL_WEIGHT
from hotswap.request_id import cell_mark, mark
from hotswap.settings import RouterLimits
from router.endpoints import Endpoints, Shared
from router.rows import Row
from router.split import Split
from router.table import AliasEntry, FunctionTable, Missing, Table, Update, VersionEntry
from router.usage import NO_CELL
from router.wire import Poll


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the invocations of a route go once their version is picked; good until the table or a row changes."""

    version: int
    terms: VersionEntry
    endpoints: Endpoints
    row: int | None
    """Where they are counted; `None` until the parent has said that."""
    latency_limit: float
    timeout: float
    """Seconds."""
    max_body: int
    """Bytes."""
    request_lines: bytes
    """For the function, each with the end of the line before it; what follows is the id of the request."""
    answer_lines: bytes
    """The same for the client."""
    mark: bytes
    """The end of the ids that the router makes for them, but for a user's cell."""

    def marked(self, cell: int) -> bytes:
        """With it, where there is one."""
        return self.mark if cell == NO_CELL else self.mark + cell_mark(cell)


@dataclass(slots=True)
class Route:
    """Where the invocations of one qualifier go: an alias, or a version that was named itself."""

    function: str
    alias: str = ""
    """Empty for a version."""
    weights: dict[int, int] = field(default_factory=dict)
    split: Split | None = None
    entry: AliasEntry | None = None
    sticky_by: str = ""
    """What ties a user to a version; empty for an alias that is not sticky."""
    rows: dict[int, int] = field(default_factory=dict)
    """Where to count, by version."""
    destinations: dict[int, Destination] = field(default_factory=dict)
    """By version, those that were asked for since the table last changed."""

    @property
    def latency_limit(self) -> float:
        limit = self.entry.latency_limit if self.entry else None
        return limit if limit is not None else float("inf")

    def pick(self) -> int:
        """The version of the next invocation, where nobody is tied to a version."""
        return self.split.pick() if self.split is not None else next(iter(self.weights))

    def pick_for(self, key: str | None, rng: random.Random) -> tuple[int, int]:
        """The version of the next invocation of the user with this key, and the user's cell, where the alias is sticky.
        Who has no key is another user each time."""
        if key is None or self.entry is None or self.entry.sticky is None:
            return self.pick(), rng.randrange(users.CELLS)
        place = users.place(key, salt=self.entry.sticky.salt)
        version = users.pick(self.weights, users.slot(place), stable=self.entry.last_good)
        return version, users.cell(place)


@dataclass(slots=True)
class Standing:
    """What is kept of one function from table to table."""

    function: FunctionTable
    aliases: dict[str, Route] = field(default_factory=dict)
    direct: dict[int, Route] = field(default_factory=dict)
    endpoints: dict[int, Endpoints] = field(default_factory=dict)

    def forget_destinations(self) -> None:
        for route in (*self.aliases.values(), *self.direct.values()):
            route.destinations.clear()


Granted = dict[tuple[str, int], dict[int, int]]
"""By alias and alias revision: the row of each version."""


MOST_ERRANT: Final = 256
"""Versions of which it is remembered that they had errors."""


class Routes:
    def __init__(
        self,
        poll: Poll,
        *,
        workers: int,
        rng: random.Random,
        clock: Callable[[], float],
        limits: RouterLimits,
        on_error: Callable[[], None],
    ) -> None:
        """`on_error` is called when an invocation fails, and not again before it was asked what is `erring`."""
        self.table = Table()
        self._rng = rng
        self._shared = Shared(poll, workers=workers, rng=rng, clock=clock, limits=limits, erred=self._erred)
        self._standing: dict[str, Standing] = {}
        """Of the functions that were asked for."""
        self._touched: set[str] = set()
        """Those of them that may have something to be forgotten."""
        self._rows: dict[str, list[Row]] = {}
        """By function, those of its aliases."""
        self._erring: dict[tuple[str, int], Endpoints] = {}
        """Functions and versions that had errors since that was last asked, ..."""
        self._errant: dict[tuple[str, int], Endpoints] = {}
        """... and at any time before, the last of them."""
        self._on_error = on_error

    def apply(self, update: Update, rows: Iterable[Row]) -> None:
        """All of one batch, or nothing of it, as seen by any invocation."""
        self.table = self.table.apply(update)
        touched = update.functions
        for name in touched:
            self._rows.pop(name, None)
        for row in rows:
            self._rows.setdefault(row.owner.function, []).append(row)
        for name in touched & self._standing.keys():
            standing = self._standing[name]
            standing.function = function = self.table.functions.get(name) or FunctionTable(name)
            self._apply_aliases(standing)
            for version, endpoints in standing.endpoints.items():
                endpoints.replace(function.endpoints.get(version, {}).values())
            standing.forget_destinations()
            self._touched.add(name)
            known = function.known_versions
            standing.direct = {version: it for version, it in standing.direct.items() if version in known}

    def grant(self, rows: Iterable[Row]) -> None:
        """Rows for versions that were named themselves."""
        for owner, index in ((row.owner, row.index) for row in rows):
            standing = self._standing.get(owner.function)
            if standing and (route := standing.direct.get(owner.version)):
                route.rows[owner.version] = index
                route.destinations.clear()

    def find(self, function: str, qualifier: str) -> Route | Missing:
        standing = self._standing.get(function) or self._stand(function)
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
        standing = self._standing.get(function) or self._stand(function)
        if standing is None:
            standing = self._standing[function] = Standing(FunctionTable(function))
        return self._endpoints(standing, version)

    def destination(self, route: Route, version: int) -> Destination:
        """Of a route that `find` has just found."""
        found = route.destinations.get(version)
        if found is None:
            name, terms = route.function.encode(), self.terms(route.function, version)
            found = route.destinations[version] = Destination(
                version,
                terms,
                self.endpoints(route.function, version),
                route.rows.get(version),
                route.latency_limit,
                terms.timeout,
                terms.max_body,
                b"\r\nHotswap-Function: %b\r\nHotswap-Version: %d\r\nHotswap-Request-Id: " % (name, version),
                b"\r\nHotswap-Version: %d\r\nHotswap-Request-Id: " % version,
                mark(version, route.entry.revision) if route.entry else b"",
            )
        return found

    def terms(self, function: str, version: int) -> VersionEntry:
        """Of a function that `find` has just found."""
        return self._standing[function].function.terms(version)

    def sweep(self) -> None:
        """Closes what has been idle, and forgets what nobody waits for. Looks only at what may have changed: thousands
        of functions that were invoked once would be a pause each second."""
        self._touched.update(endpoints.function for endpoints in self._shared.sweep())
        touched, self._touched = self._touched, set()
        for name in touched & self._standing.keys():
            standing = self._standing[name]
            if any(it.idle for it in standing.endpoints.values()):
                standing.endpoints = {version: it for version, it in standing.endpoints.items() if not it.idle}
                standing.forget_destinations()
            if standing.function.empty and not standing.endpoints:
                del self._standing[name]

    def erring(self) -> dict[tuple[str, int], Endpoints]:
        """Functions and versions that had errors since this was last asked."""
        found, self._erring = self._erring, {}
        for key in found:
            self._errant.pop(key, None)
        self._errant.update(found)
        while len(self._errant) > MOST_ERRANT:
            del self._errant[next(iter(self._errant))]
        return found

    def errant(self) -> dict[tuple[str, int], Endpoints]:
        """Those that had errors once, the last `MOST_ERRANT` of them: what they answer well counts too."""
        return self._errant

    def close(self) -> None:
        for standing in self._standing.values():
            for endpoints in standing.endpoints.values():
                endpoints.close()

    def _stand(self, name: str) -> Standing | None:
        """What is kept of a function from now on; `None` if the table does not have it."""
        function = self.table.functions.get(name)
        if function is None:
            return None
        standing = self._standing[name] = Standing(function)
        self._apply_aliases(standing)
        return standing

    def _endpoints(self, standing: Standing, version: int) -> Endpoints:
        endpoints = standing.endpoints.get(version)
        if endpoints is None:
            endpoints = Endpoints(self._shared, standing.function.name, version)
            self._touched.add(standing.function.name)
            endpoints.replace(standing.function.endpoints.get(version, {}).values())
            standing.endpoints[version] = endpoints
        return endpoints

    def _erred(self, endpoints: Endpoints) -> None:
        first = not self._erring
        self._erring[endpoints.function, endpoints.version] = endpoints
        if first:
            self._on_error()

    def _apply_aliases(self, standing: Standing) -> None:
        granted: Granted = {}
        for owner, index in ((row.owner, row.index) for row in self._rows.get(standing.function.name, ())):
            granted.setdefault((owner.alias, owner.alias_revision), {})[owner.version] = index
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
            route.sticky_by = entry.sticky.by if entry.sticky else ""
            route.rows = granted[name, entry.revision]
