"""The metrics that versions are compared by: what they are called, which way is better, where their figures come from.

The unit is the *user*. All but quantiles are one sum over users by another, `Ratio`; what is summed is known by group
of users (`hotswap.usage`). Users are in a group by chance, so the groups' deviations from the ratio have the variance
of their users' (the delta method, over groups in the place of users): with a hundred groups it is known to 12 % or so,
whatever users do, be it that each comes a thousand times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from hotswap.comparison import Kind
from hotswap.judge import quantiles
from hotswap.judge.quantiles import Spread
from hotswap.judge.sequence import Sample
from hotswap.metric import RESPONSE_TIME, Direction, Metric, Statistic
from hotswap.metrics import BOUNDARIES, Tally
from hotswap.usage import Reported, Usage, value_bounds
from hotswap.users import GROUPS

BOUNDS = list(zip((0.0, *BOUNDARIES), (*BOUNDARIES, float("inf")), strict=True))
"""Of durations, in seconds."""
NOTHING = Reported()

ByGroup = Callable[[Usage], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one version."""

    tally: Tally
    usage: Usage


@dataclass(frozen=True, slots=True)
class Ratio:
    over: ByGroup
    under: ByGroup
    doubt: Callable[[Sequence[Seen]], float] = lambda _: 0.0
    """By how much one more event would change the sum. The variance is taken as if one had been seen more than was: no
    event yet is no certainty."""

    def sample(self, seen: Seen, *, doubt: float) -> Sample | None:
        """`None` where there is nothing to divide by."""
        pairs = [(x, n) for x, n in zip(self.over(seen.usage), self.under(seen.usage), strict=True) if x or n]
        users, total = seen.usage.user_count, sum(n for _, n in pairs)
        if not users or not total:
            return None
        ratio = sum(x for x, _ in pairs) / total
        squares = sum((x - ratio * n) ** 2 for x, n in pairs) * len(pairs) / max(1, len(pairs) - 1)
        return Sample(users, ratio, users * (squares + doubt**2) / total**2)


@dataclass(frozen=True, slots=True)
class Quantile:
    q: float
    spread: Callable[[Seen], Spread | None]
    """`None` where there is no value."""


@dataclass(frozen=True, slots=True)
class Measure:
    title: str
    kind: Kind
    direction: Direction
    figures: Ratio | Quantile
    matters: Callable[[float], float]
    """The smallest difference from the base's value that matters."""
    of: str = ""
    """What has to be reported for it."""

    def measured(self, seen: Sequence[Seen]) -> bool:
        return not self.of or any(_reported(one.usage, self.of).count for one in seen)


def declared(name: str, metric: Metric) -> Measure:
    of = metric.of or name
    kind, reported = Kind.NUMBER, of
    figures: Ratio | Quantile
    match metric.kind:
        case Statistic.SHARE:
            kind, figures = Kind.RATE, _share(of)
        case Statistic.MEAN:
            figures = _mean(of)
        case Statistic.RATIO:
            figures = Ratio(_sums(of), _sums(metric.per) if metric.per else _invocations, _usual(of))
        case Statistic.QUANTILE if of == RESPONSE_TIME:
            kind, reported, figures = Kind.DURATION, "", Quantile(metric.quantile or 0.5, _durations)
        case Statistic.QUANTILE:
            figures = Quantile(metric.quantile or 0.5, lambda seen: _values(seen, of))
    title, share = metric.title or name, metric.matters
    return Measure(title, kind, metric.direction, figures, lambda base: share * abs(base), reported)


def _reported(usage: Usage, name: str) -> Reported:
    return usage.reported.get(name, NOTHING)


def _by_group(told: Mapping[int, float]) -> list[float]:
    return [told.get(group, 0) for group in range(GROUPS)]


def _sums(name: str) -> ByGroup:
    return lambda usage: _by_group(_reported(usage, name).sums)


def _users(usage: Usage) -> Sequence[float]:
    return usage.users_by_group


def _invocations(usage: Usage) -> Sequence[float]:
    return usage.invocations or [0] * GROUPS


def _errors(usage: Usage) -> Sequence[float]:
    return usage.errors or [0] * GROUPS


def _milliseconds(usage: Usage) -> Sequence[float]:
    return [each / 1e3 for each in usage.microseconds] or [0.0] * GROUPS


def _usual(name: str) -> Callable[[Sequence[Seen]], float]:
    """The root of the mean square of what all versions report under the name, but for 0: of a conversion 1."""

    def usual(seen: Sequence[Seen]) -> float:
        told = Reported.total(_reported(one.usage, name) for one in seen)
        some = sum(count for bucket, count in told.values.items() if bucket)
        return sqrt(told.squares / max(1, some))

    return usual


def _mean(name: str) -> Ratio:
    return Ratio(_sums(name), _users, _usual(name))


def _share(name: str) -> Ratio:
    return Ratio(lambda usage: _reported(usage, name).users_by_group, _users, lambda _: 1.0)


def _durations(seen: Seen) -> Spread | None:
    """In milliseconds."""
    bounds = [(low * 1e3, high * 1e3) for low, high in BOUNDS]
    return _spread(seen, seen.tally.buckets, bounds, Ratio(_milliseconds, _invocations))


def _values(seen: Seen, name: str) -> Spread | None:
    reported, bounds = _reported(seen.usage, name), value_bounds()
    counts = [reported.values.get(bucket, 0) for bucket in range(len(bounds))]
    each = Ratio(_sums(name), lambda usage: _by_group(_reported(usage, name).counts))
    return _spread(seen, counts, bounds, each)


def _spread(seen: Seen, counts: Sequence[int], bounds: Sequence[tuple[float, float]], each: Ratio) -> Spread | None:
    mean = each.sample(seen, doubt=0.0)
    if mean is None or not sum(counts):
        return None
    error = sqrt(mean.variance / mean.units)
    return Spread(counts, bounds, quantiles.effective(counts, bounds, error=error))


MEASURES: Mapping[str, Measure] = {
    RESPONSE_TIME: Measure(
        "Avg Response Time",
        Kind.DURATION,
        Direction.LOWER,
        Ratio(_milliseconds, _invocations),
        matters=lambda base: 0.02 * base,
    ),
    "errorRate": Measure(
        "Error Rate",
        Kind.RATE,
        Direction.LOWER,
        Ratio(_errors, _invocations, doubt=lambda _: 1.0),
        matters=lambda base: 0.0005,
    ),
    "conversionRate": Measure(
        "Conversion Rate",
        Kind.RATE,
        Direction.HIGHER,
        _share("conversion"),
        matters=lambda base: 0.02 * base,
        of="conversion",
    ),
    "userEngagement": Measure(
        "User Engagement",
        Kind.RATE,
        Direction.HIGHER,
        _share("engagement"),
        matters=lambda base: 0.02 * base,
        of="engagement",
    ),
}
"""By the names that the guide gives them."""
