"""Usage as so many users would leave it: who they are and what they do falls into groups by chance."""

from functools import cache
from math import exp
from random import Random

from msgspec.structs import replace

from hotswap.usage import Usage
from hotswap.users import CELLS, GROUP_CELLS, GROUPS


def crowd(users: int, *, errors: int = 0) -> Usage:
    """Who came once each."""
    visits = [users // GROUPS + (group < users % GROUPS) for group in range(GROUPS)]
    return replace(taken(users), invocations=visits, errors=thrown(errors), microseconds=[0] * GROUPS)


@cache
def taken(users: int) -> Usage:
    """Cells that as many users are estimated to fill."""
    cells = bytearray(CELLS // 8)
    for cell in Random(1).sample(range(CELLS), round(CELLS * (1 - exp(-users / CELLS)))):
        cells[cell // 8] |= 1 << cell % 8
    return Usage(users=bytes(cells))


def who(users: int) -> dict[int, bytes]:
    """The same cells, by group."""
    cells, size = taken(users).users, GROUP_CELLS // 8
    return {group: cells[group * size : (group + 1) * size] for group in range(GROUPS)}


def by_group(total: float, deviation: float) -> list[int]:
    """Sums of groups that differ as chance would have it: normally, by this standard deviation."""
    random = Random(2)
    sums = [round(total / GROUPS + random.gauss(0, deviation)) for _ in range(GROUPS - 1)]
    return [*sums, round(total) - sum(sums)]


def thrown(events: int) -> list[int]:
    """By group, where each event falls into one by chance."""
    random, counts = Random(3), [0] * GROUPS
    for _ in range(events):
        counts[random.randrange(GROUPS)] += 1
    return counts
