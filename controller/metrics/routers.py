"""What the versions under an alias did since a deployment first gave out traffic, summed over the routers.

Invocations are counted by the revision of the weights under which they were picked. So neither a deployment nor a phase
needs an earlier sample to subtract, and each router begins to count a phase when it has its weights. A router that is
started again begins at zero under a new boot id; what was last seen of its old boot stays in the sum, and so does what
it has put together since with older counts. Invocations that named their version are no part of it: they have no alias.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from hotswap.judge.basis import Sum
from hotswap.metrics import CounterRow, Counters, NodeRow, Tally
from hotswap.usage import Usage


class Counts(Protocol):
    """Where counts come from: the routers themselves (`hotswap.routers`), or Prometheus (`prometheus.py`)."""

    async def counters(self, function: str) -> list[Counters]:
        """Of every router that lives; raises `Unavailable` when those of one are missing: a part is not the whole."""


class Trail:
    """The counts under one alias since a revision. To be asked now and then: what a router counted since it was last
    asked is lost when that router dies."""

    def __init__(self, routers: Counts, *, function: str, alias: str, since: int) -> None:
        self._routers = routers
        self._function = function
        self._alias = alias
        self._since = since
        self._seen: dict[tuple[str, str, int, int], CounterRow] = {}
        """By router, its boot, version and revision of the weights."""
        self._nodes: dict[tuple[str, str, int, str], NodeRow] = {}
        """By router, its boot, version and node."""
        self.at: datetime | None = None
        """When the oldest of it was counted that was last asked for; `None` for just then."""

    async def tallies(self) -> Mapping[tuple[int, int], Tally]:
        """By version and revision of the weights."""
        told = await self._routers.counters(self._function)
        self.at = min((counters.at for counters in told if counters.at), default=None)
        for counters in told:
            for row in counters.rows:
                if self._counts(row):
                    self._seen[counters.router, counters.boot, row.version, row.alias_revision] = row
            for node in counters.nodes:
                self._nodes[counters.router, counters.boot, node.version, node.node] = node
        rows: defaultdict[tuple[int, int], list[list[int]]] = defaultdict(list)
        for (_, _, version, revision), row in self._seen.items():
            rows[version, revision].append(row.tally.counts)
        return {key: Tally.total(counts) for key, counts in rows.items()}

    def nodes(self) -> Mapping[int, Mapping[str, Sum]]:
        """By version and node, of versions that have errors, as it was when the tallies were last asked for."""
        found: defaultdict[int, dict[str, Sum]] = defaultdict(dict)
        for (_, _, version, node), row in self._nodes.items():
            before = found[version].get(node, Sum(invocations=0, errors=0))
            found[version][node] = Sum(
                invocations=before.invocations + row.invocations, errors=before.errors + row.errors
            )
        return found

    def usages(self) -> Mapping[tuple[int, int], Usage]:
        """The same of users and reports, as they were when the tallies were last asked for."""
        found: defaultdict[tuple[int, int], list[Usage]] = defaultdict(list)
        for (_, _, version, revision), row in self._seen.items():
            if row.usage is not None:
                found[version, revision].append(row.usage)
        return {key: Usage.total(several) for key, several in found.items()}

    def _counts(self, row: CounterRow) -> bool:
        return (row.function, row.alias) == (self._function, self._alias) and row.alias_revision >= self._since
