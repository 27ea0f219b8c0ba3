"""The metrics that versions are compared by: what they are called, which way is better, where their figures come from.

A metric that is asked for and stands not in `MEASURES` is not measured. One that functions report by themselves, such
as a conversion rate, finds its place here once something counts it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hotswap.comparison import Direction, Kind
from hotswap.judge.sequence import Sample
from hotswap.metrics import BOUNDARIES, Count, Tally


@dataclass(frozen=True, slots=True)
class Measure:
    title: str
    kind: Kind
    direction: Direction
    figures: Callable[[Tally], Sample]
    """Of a tally with one invocation at least; the unit is the invocation."""
    matters: Callable[[float], float]
    """The smallest difference from the base's value that matters."""


def response_time(tally: Tally) -> Sample:
    """Milliseconds. The mean is exact; the variance is an upper bound, by the buckets."""
    mean = tally[Count.MICROSECONDS] / tally.invocations / 1e6
    return Sample(tally.invocations, mean * 1e3, _variance(tally, mean) * 1e6)


def error_rate(tally: Tally) -> Sample:
    """The variance is taken as if one more error and one more success had been seen: no error yet is no certainty."""
    smoothed = (tally.errors + 1) / (tally.invocations + 2)
    return Sample(tally.invocations, tally.errors / tally.invocations, smoothed * (1 - smoothed))


def _variance(tally: Tally, mean: float) -> float:
    """Each invocation is taken to lie at the end of its bucket that is farther from the mean, so it is never too small.

    The standard deviation that comes of it is at most one bucket's width too large, 9 % of a duration: of an
    exponential distribution 5 %, of a log-normal one with sigma 0.5 8 %, with sigma 0.2 20 %. What is past the last
    bucket has no upper end: it is taken to last what the others, at their buckets' middles, leave of the exact sum.
    """
    *inside, beyond = tally.buckets
    ends = list(zip(inside, (0.0, *BOUNDARIES), BOUNDARIES, strict=False))
    squares = sum(count * max(mean - low, high - mean) ** 2 for count, low, high in ends if count)
    if beyond:
        left = tally[Count.MICROSECONDS] / 1e6 - sum(count * (low + high) / 2 for count, low, high in ends)
        squares += beyond * (max(left / beyond, BOUNDARIES[-1]) - mean) ** 2
    return squares / max(1, sum(tally.buckets))


MEASURES: Mapping[str, Measure] = {
    "responseTime": Measure(
        "Avg Response Time", Kind.DURATION, Direction.LOWER, response_time, matters=lambda base: 0.02 * base
    ),
    "errorRate": Measure("Error Rate", Kind.RATE, Direction.LOWER, error_rate, matters=lambda base: 0.0005),
}
"""By the names that a request's `metricsToCompare` has."""
