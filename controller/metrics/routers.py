"""What a version did in a phase, summed over the routers.

Invocations are counted by the revision of the weights under which they were picked. So a phase needs no earlier sample
to subtract: it is all that was counted at the revision of its weights or later, and each router begins to count it when
it has them. A router that is started again begins at zero under a new boot id; what was last seen of its old boot stays
in the sum. Invocations that named their version are no part of it: they have no alias.
"""

from collections.abc import Sequence
from typing import Protocol

from hotswap.metrics import CounterRow, Counters, Tally


class Counts(Protocol):
    async def counters(self, function: str) -> list[Counters]:
        """Of every router that lives; raises `Unavailable` when one does not answer."""


class Phase:
    """The count of one version under one alias since a revision of its weights. To be asked now and then: what a
    router counted since it was last asked is lost when that router dies."""

    def __init__(self, routers: Counts, *, function: str, alias: str, version: int, since: int) -> None:
        self._routers = routers
        self._function = function
        self._alias = alias
        self._version = version
        self._since = since
        self._seen: dict[tuple[str, str], Tally] = {}

    async def tally(self) -> Tally:
        for counters in await self._routers.counters(self._function):
            self._seen[counters.router, counters.boot] = self._sum(counters.rows)
        return Tally.total([tally.counts for tally in self._seen.values()])

    def _sum(self, rows: Sequence[CounterRow]) -> Tally:
        return Tally.total([row.tally.counts for row in rows if self._counts(row)])

    def _counts(self, row: CounterRow) -> bool:
        named = (row.function, row.alias, row.version) == (self._function, self._alias, self._version)
        return named and row.alias_revision >= self._since
