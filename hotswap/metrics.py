"""What is counted of every invocation, and by which names it is told.

A `Tally` is all that is counted under one key (function, alias, version, alias revision). The router keeps it as a row
of 64-bit counters in shared memory, in the order of `Count` and then the buckets; the controller reads it as JSON.

Latency buckets grow by 2^(1/8) from 0.5 ms to 60 s, so that a quantile read from them is off by 4.4 % at most.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from itertools import accumulate
from typing import Self

from hotswap.model import Model
from hotswap.usage import Usage

SMALLEST_BUCKET = 0.0005
"""Seconds."""
BUCKETS_PER_DOUBLING = 8
BOUNDARIES: tuple[float, ...] = tuple(SMALLEST_BUCKET * 2 ** (i / BUCKETS_PER_DOUBLING) for i in range(136))
"""Upper bounds of the buckets, in seconds, the last just over 60; one more bucket holds what is slower."""
MIDDLE = 2 ** (0.5 / BUCKETS_PER_DOUBLING)
"""The upper bound of a bucket over its middle, and the middle over its lower bound: 1.044."""
BUCKETS = len(BOUNDARIES) + 1


class Count(IntEnum):
    """Position of a counter in a row. The first six are an invocation's outcome: exactly one of them is counted."""

    OK = 0
    CLIENT_ERROR = 1
    """4xx: the caller's fault, not an error of the version."""
    STATUS = 2
    """5xx that the function answered."""
    EXCEPTION = 3
    TIMEOUT = 4
    DIED = 5
    """The instance broke the connection."""
    PLATFORM = 6
    """Failed on account of the platform: no instance ready, queue full. Not an invocation of the version."""
    SLOW = 7
    """Slower than the alias's latency limit."""
    COLD = 8
    """Had to wait for its instance."""
    MICROSECONDS = 9
    """Sum of the durations."""


FIXED = len(Count)
ROW = FIXED + BUCKETS
"""64-bit words in a row."""
ERRORS = (Count.STATUS, Count.EXCEPTION, Count.TIMEOUT, Count.DIED)
OUTCOMES = (Count.OK, Count.CLIENT_ERROR, *ERRORS)


def bucket(seconds: float) -> int:
    """Index of the bucket that holds a duration: the first whose upper bound is not below it."""
    return bisect_left(BOUNDARIES, seconds)


class Tally(Model, frozen=True, kw_only=True):
    """A row, as it is told: the fixed counters in the order of `Count`, then the buckets."""

    counts: list[int]

    @classmethod
    def zero(cls) -> Self:
        return cls(counts=[0] * ROW)

    @classmethod
    def total(cls, tallies: Iterable[Sequence[int]]) -> Self:
        rows = list(tallies)
        if len(rows) == 1:  # most often, and then there is nothing to add
            return cls(counts=list(rows[0]))
        return cls(counts=list(map(sum, zip(*rows, strict=True)))) if rows else cls.zero()

    def __getitem__(self, count: Count) -> int:
        return self.counts[count]

    def since(self, earlier: "Tally") -> "Tally":
        return Tally(counts=[now - then for now, then in zip(self.counts, earlier.counts, strict=True)])

    @property
    def invocations(self) -> int:
        return sum(self.counts[count] for count in OUTCOMES)

    @property
    def errors(self) -> int:
        return sum(self.counts[count] for count in ERRORS)

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.invocations if self.invocations else None

    @property
    def buckets(self) -> Sequence[int]:
        return self.counts[FIXED:]

    def quantile(self, q: float) -> float | None:
        """Seconds a share `q` did not exceed: the middle of its bucket; inf past the last one; `None` of none.

        The middle by ratio, so that the true value is 4.4 % away at most. What is faster than the smallest bucket ends
        is told as that end.
        """
        total = sum(self.buckets)
        if not total:
            return None
        index = bisect_left(list(accumulate(self.buckets)), q * total)
        if index == len(BOUNDARIES):
            return float("inf")
        return BOUNDARIES[index] / MIDDLE if index else SMALLEST_BUCKET


class CounterRow(Model, frozen=True, kw_only=True):
    function: str
    alias: str
    """Empty for invocations that named their version."""
    version: int
    alias_revision: int
    """Revision of the weights under which the version was picked."""
    tally: Tally
    in_flight: int = 0
    usage: Usage | None = None
    """`None` where users are not tied to versions and nothing was reported."""


class NodeRow(Model, frozen=True, kw_only=True):
    """What instances of a version answered on a node, whoever invoked it."""

    function: str
    version: int
    node: str
    invocations: int
    errors: int


class Counters(Model, frozen=True, kw_only=True):
    """What a router answers at `/counters?function=F`."""

    router: str
    boot: str
    """New when the counts begin at zero again."""
    rows: list[CounterRow]
    at: datetime | None = None
    """When that was counted, where it comes by way of somebody who keeps it; `None` for just now."""
    nodes: list[NodeRow] = []
    """Of versions that have had errors."""


class Failure(Model, frozen=True, kw_only=True):
    """A version that had an error, or was slower than its alias allows."""

    function: str
    alias: str
    version: int


class Failing(Model, frozen=True, kw_only=True):
    """What a router answers at `/failing?since=L&wait=T`: which versions had any since its look L, without counts."""

    look: int
    """To ask for what comes after this."""
    failures: list[Failure]


class Named(Model, frozen=True, kw_only=True):
    """A version that an invocation has named by its number."""

    function: str
    version: int


class Lacking(Model, frozen=True, kw_only=True):
    """What a router answers at `/lacking?wait=T`: which versions invocations have named and wait for, since they have
    no endpoint at all."""

    versions: list[Named]


class Applied(Model, frozen=True, kw_only=True):
    """What a router answers at `/applied`: the revisions that every one of its workers has."""

    aliases: int
    endpoints: int
