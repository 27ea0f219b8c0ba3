"""Which version an invocation goes to: exactly by the weights, without a random number or a division per pick.

Weights are whole percents, so their pattern repeats after at most 100 picks. One period of it is computed when weights
change (and kept for the next alias with the same ones); a pick is then an index into it.

The period is Tijdeman's solution of the chairman assignment problem (R. Tijdeman, "The chairman assignment problem",
Discrete Mathematics 32, 1980): of n picks every version has n·p, give or take less than one, however many versions
there are. Smooth weighted round robin would do for two, but strays further than one pick from its due with many.

Where a worker begins in the period is random, so that workers that pick rarely do not all begin with the same version.
Counting from the middle of a period may stray further than counting from its start, so only those places are starts
from which |count - n·p| < 1 holds for every n (for two versions: all of them).

A change of weights takes along what each version is due: the new period is entered at the start whose surplus is
nearest to what stands. With two versions that keeps |count - due| < 1 over any number of changes. With more that cannot
always be had, since the past did not know the future; then the bound holds from each change on.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd

from hotswap.model import FULL_WEIGHT

PERIODS_KEPT = 4_096

Weighting = tuple[tuple[int, int], ...]
"""(version, weight) of the versions that have weight, by version."""


@dataclass(frozen=True, slots=True)
class Period:
    picks: tuple[int, ...]
    surplus: tuple[Mapping[int, int], ...]
    """By place, by version: picks had before this place less picks due, in hundredths."""
    starts: tuple[int, ...]


class Split:
    """The picks of one alias in one worker."""

    def __init__(self, weights: Mapping[int, int], rng: random.Random) -> None:
        self._period = period(weighting(weights))
        self._place = self._start = rng.choice(self._period.starts)
        self._carried: Mapping[int, int] = {}

    def pick(self) -> int:
        place = self._place
        picks = self._period.picks
        self._place = place + 1 if place + 1 < len(picks) else 0
        return picks[place]

    def change(self, weights: Mapping[int, int]) -> None:
        """New weights, from the next pick on."""
        new = period(weighting(weights))
        surplus = {version: self._surplus(version) for version, weight in weights.items() if weight}
        self._start = self._place = min(new.starts, key=lambda start: _distance(new.surplus[start], surplus))
        self._period = new
        self._carried = surplus

    def _surplus(self, version: int) -> int:
        """What the version has had above its due since this split began, in hundredths of a pick."""
        had = self._period.surplus
        return self._carried.get(version, 0) + had[self._place].get(version, 0) - had[self._start].get(version, 0)


def weighting(weights: Mapping[int, int]) -> Weighting:
    return tuple(sorted((version, weight) for version, weight in weights.items() if weight))


@lru_cache(maxsize=PERIODS_KEPT)
def period(weights: Weighting) -> Period:
    """`weights` add up to 100."""
    length = FULL_WEIGHT // gcd(*(weight for _, weight in weights))
    had = {version: 0 for version, _ in weights}
    picks: list[int] = []
    surplus: list[Mapping[int, int]] = []
    for n in range(length):
        surplus.append({version: had[version] * FULL_WEIGHT - n * weight for version, weight in weights})
        pick = _most_urgent(weights, had, n + 1)
        had[pick] += 1
        picks.append(pick)
    return Period(tuple(picks), tuple(surplus), _starts(surplus))


def _most_urgent(weights: Weighting, had: Mapping[int, int], n: int) -> int:
    """Of the versions that may have the n-th pick, the one that must have it soonest."""
    if len(weights) == 1:
        return weights[0][0]
    slack = 2 * len(weights) - 2
    urgent: list[tuple[Fraction, int]] = []
    for version, weight in weights:
        due = n * weight - had[version] * FULL_WEIGHT
        if slack * due >= FULL_WEIGHT:
            urgent.append((Fraction((slack - 1) * FULL_WEIGHT - slack * due, weight), version))
    return min(urgent)[1]


def _starts(surplus: list[Mapping[int, int]]) -> tuple[int, ...]:
    highest = {version: max(at[version] for at in surplus) for version in surplus[0]}
    lowest = {version: min(at[version] for at in surplus) for version in surplus[0]}
    return tuple(
        place
        for place, at in enumerate(surplus)
        if all(highest[v] - at[v] < FULL_WEIGHT and at[v] - lowest[v] < FULL_WEIGHT for v in at)
    )


def _distance(at: Mapping[int, int], surplus: Mapping[int, int]) -> int:
    return sum((at[version] - surplus[version]) ** 2 for version in at)
