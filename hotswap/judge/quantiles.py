"""An interval for the difference of two quantiles that holds at all times at once. Pure.

Howard and Ramdas 2022, "Sequential estimation of quantiles with applications to A/B testing and best-arm
identification" (arXiv 1906.09712), theorem 1: the share of values below a quantile never strays from it by more than
`reach`, but with a chance of alpha. Of a difference each of the two has half of alpha.

Values are known by their buckets, so an interval begins and ends where buckets do. Of values that depend on each other,
as those of one user do, there are fewer in effect: as many as tell as much of their mean as all of them do. For a
quantile that is an approximation.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, inf, isinf, log, sqrt

from hotswap.comparison import UNBOUNDED
from hotswap.judge.sequence import ALPHA

LEAST_P = 1e-6
HALVINGS = 30
"""Of the range in which p is looked for."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are spread; at least one."""

    counts: Sequence[int]
    """By bucket."""
    bounds: Sequence[tuple[float, float]]
    effective: float
    """Independent values that these are worth."""

    def bucket(self, share: float) -> int:
        """That of the value which this share of all does not exceed."""
        return bisect_left(list(accumulate(self.counts)), share * sum(self.counts))

    def value(self, q: float) -> float:
        return middle(self.bounds[self.bucket(q)])

    def interval(self, q: float, *, alpha: float) -> tuple[float, float]:
        off = reach(q, self.effective, alpha=alpha)
        low = self.bounds[self.bucket(q - off)][0] if q > off else 0.0
        high = self.bounds[self.bucket(q + off)][1] if q + off < 1 else inf
        return low, high


def middle(bounds: tuple[float, float]) -> float:
    """By ratio, as buckets grow; of one without an end its begin."""
    low, high = bounds
    if isinf(high):
        return low
    return sqrt(low * high) if low else high


def effective(counts: Sequence[int], bounds: Sequence[tuple[float, float]], *, error: float) -> float:
    """How many independent values would leave the mean with this standard error; never more than there are."""
    total = sum(counts)
    mean = sum(count * middle(each) for count, each in zip(counts, bounds, strict=True)) / total
    variance = sum(count * (middle(each) - mean) ** 2 for count, each in zip(counts, bounds, strict=True)) / total
    return max(1.0, min(float(total), variance / error**2)) if error else float(total)


def reach(q: float, units: float, *, alpha: float) -> float:
    unit = (1.4 * log(log(2.1 * units)) + log(10 / alpha)) / units
    return 1.5 * sqrt(q * (1 - q) * unit) + 0.8 * unit


def difference(base: Spread, other: Spread, q: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """The interval of the other's quantile less the base's."""
    ours, theirs = other.interval(q, alpha=alpha / 2), base.interval(q, alpha=alpha / 2)
    return max(ours[0] - theirs[1], -UNBOUNDED), min(ours[1] - theirs[0], UNBOUNDED)


def p_value(base: Spread, other: Spread, q: float) -> float:
    """The least alpha whose interval would exclude 0."""
    low, high = log(LEAST_P), 0.0
    if not _apart(base, other, q, alpha=1.0):
        return 1.0
    for _ in range(HALVINGS):
        between = (low + high) / 2
        low, high = (low, between) if _apart(base, other, q, alpha=exp(between)) else (between, high)
    return exp(high)


def _apart(base: Spread, other: Spread, q: float, *, alpha: float) -> bool:
    low, high = difference(base, other, q, alpha=alpha)
    return low > 0 or high < 0
