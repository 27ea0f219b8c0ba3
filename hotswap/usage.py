"""What is counted by user, and what functions report of themselves, of one version under one set of weights.

A *user* is a cell of the hashed sticky keys (`hotswap.users`), so nobody's key is kept. One bit for each tells who was
there. What they did is summed by *group*, 128 of them: users fall into groups by chance, so how far the groups differ
tells how far users do, however many there are and however often each comes. That is all that an interval needs.

A *report* is a number under a name: a conversion, a revenue. `Reported` has its count, sum and sum of squares, the
sums by group, the users who did what it tells of, and how the values are spread.
"""

from collections.abc import Iterable, Mapping
from math import inf, log, log2
from typing import Annotated, Self, TypeVar

import msgspec

from hotswap.model import Model
from hotswap.users import CELLS, GROUP_CELLS, GROUPS

NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,31}"
"""Of what is reported."""
LONGEST_NAME = 32
"""Bytes."""
MOST_NAMES = 8
"""Of what is reported of one version under one set of weights."""
MOST_VALUE = 1e15
SMALLEST_VALUE = 0.001
"""What is below it is told as 0 where values are spread."""
VALUES_PER_DOUBLING = 8
VALUES = 256
"""Buckets of values: from 0.001 to 3.6 million, each 9 % wide; the first has what is below, the last one the rest."""

GROUP_BYTES = GROUP_CELLS // 8

ReportName = Annotated[str, msgspec.Meta(pattern=f"^{NAME}$")]
K = TypeVar("K")
N = TypeVar("N", int, float)


def value_bucket(value: float) -> int:
    if value < SMALLEST_VALUE:
        return 0
    return min(VALUES - 1, 1 + int(VALUES_PER_DOUBLING * log2(value / SMALLEST_VALUE)))


def value_bounds() -> list[tuple[float, float]]:
    """Of each bucket, the lower and the upper one."""
    ends = [SMALLEST_VALUE * 2 ** (i / VALUES_PER_DOUBLING) for i in range(VALUES - 1)]
    return list(zip([0.0, *ends], [*ends, inf], strict=True))


class Reported(Model, frozen=True, kw_only=True):
    count: int = 0
    sum: float = 0.0
    squares: float = 0.0
    sums: dict[int, float] = {}
    """By group."""
    counts: dict[int, int] = {}
    """By group."""
    who: dict[int, bytes] = {}
    """By group, a bit for each cell: users with a report of more than 0."""
    values: dict[int, int] = {}
    """By bucket."""

    @classmethod
    def one(cls, value: float, *, cell: int) -> Self:
        group, at = divmod(cell, GROUP_CELLS)
        return cls(
            count=1,
            sum=value,
            squares=value * value,
            sums={group: value},
            counts={group: 1},
            who={group: (1 << at).to_bytes(GROUP_BYTES, "little")} if value > 0 else {},
            values={value_bucket(value): 1},
        )

    @property
    def users_by_group(self) -> list[float]:
        """Those who did what is reported, however often."""
        return [_users(_bits(self.who.get(group, b"")), GROUP_CELLS) for group in range(GROUPS)]

    @classmethod
    def total(cls, several: Iterable["Reported"]) -> Self:
        each = list(several)
        return cls(
            count=sum(one.count for one in each),
            sum=sum(one.sum for one in each),
            squares=sum(one.squares for one in each),
            sums=_added(one.sums for one in each),
            counts=_added(one.counts for one in each),
            who=_joined(one.who for one in each),
            values=_added(one.values for one in each),
        )


class Usage(Model, frozen=True, kw_only=True):
    users: bytes = b""
    """A bit for each cell, those of a group together."""
    invocations: list[int] = []
    """By group; empty where nobody is tied to a version."""
    errors: list[int] = []
    microseconds: list[int] = []
    reported: dict[str, Reported] = {}
    """By name."""
    malformed: int = 0
    """Reports that are not a name with a number."""
    crowded: int = 0
    """Reports under a name when there were `MOST_NAMES` others."""

    @classmethod
    def total(cls, several: Iterable["Usage"]) -> Self:
        """Who was seen in several places is one user."""
        each = list(several)
        users = 0
        for one in each:
            users |= int.from_bytes(one.users, "little")
        names = {name for one in each for name in one.reported}
        return cls(
            users=users.to_bytes(CELLS // 8, "little") if users else b"",
            invocations=_summed([one.invocations for one in each]),
            errors=_summed([one.errors for one in each]),
            microseconds=_summed([one.microseconds for one in each]),
            reported={
                name: Reported.total(one.reported[name] for one in each if name in one.reported)
                for name in sorted(names)
            },
            malformed=sum(one.malformed for one in each),
            crowded=sum(one.crowded for one in each),
        )

    @property
    def reports(self) -> "Usage":
        """Without the users."""
        return Usage(reported=self.reported, malformed=self.malformed, crowded=self.crowded)

    @property
    def cells(self) -> list[int]:
        """By group, how many cells have a user."""
        return [_bits(self.users[group * GROUP_BYTES : (group + 1) * GROUP_BYTES]) for group in range(GROUPS)]

    @property
    def users_by_group(self) -> list[float]:
        return [_users(taken, GROUP_CELLS) for taken in self.cells]

    @property
    def user_count(self) -> float:
        """An estimate: as many users as most likely fill as many cells."""
        return _users(sum(self.cells), CELLS)


def together(several: Iterable[Mapping[K, Usage]]) -> dict[K, Usage]:
    """By the same keys."""
    found: dict[K, list[Usage]] = {}
    for each in several:
        for key, usage in each.items():
            found.setdefault(key, []).append(usage)
    return {key: Usage.total(usages) for key, usages in found.items()}


def _users(taken: int, cells: int) -> float:
    """Linear counting (Whang, Vander-Zanden and Taylor 1990). When all cells are taken it cannot tell how many more
    there are: then as if half a cell were free."""
    return -cells * log(1 - taken / cells) if taken < cells else cells * log(2 * cells)


def _bits(cells: bytes) -> int:
    return int.from_bytes(cells, "little").bit_count()


def _joined(several: Iterable[Mapping[int, bytes]]) -> dict[int, bytes]:
    bits: dict[int, int] = {}
    for one in several:
        for group, cells in one.items():
            bits[group] = bits.get(group, 0) | int.from_bytes(cells, "little")
    return {group: cells.to_bytes(GROUP_BYTES, "little") for group, cells in bits.items()}


def _summed(lists: list[list[int]]) -> list[int]:
    told = [one for one in lists if one]
    return list(map(sum, zip(*told, strict=True)))


def _added(several: Iterable[Mapping[int, N]]) -> dict[int, N]:
    total: dict[int, N] = {}
    for one in several:
        for key, value in one.items():
            total[key] = total[key] + value if key in total else value
    return total
