"""Compares the versions of an A/B test, and names a winner only where one is earned. Pure.

The unit is the *user*, as the sticky key tells one from another, and never the invocation: those of one user are alike,
and a user who comes often would be taken for many (`measures`).

Every interval and every p is valid at all times at once (`sequence`), so the comparison may be shown while the test
runs. A version wins the test only if it wins a primary metric against every other (Holm's correction over the
primaries and pairs), loses none, if the traffic was split as the weights say, the test has run its time, and each
version has `LEAST_UNITS`.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec

from hotswap.comparison import Comparison, Difference, MetricComparison, Standing
from hotswap.judge import quantiles, sample_ratio
from hotswap.judge.measures import MEASURES, Measure, Quantile, Ratio, Seen, declared
from hotswap.judge.quantiles import Spread
from hotswap.judge.sequence import ALPHA, Sample, contrast, half_width, p_value
from hotswap.metric import Direction, Metric
from hotswap.model import VersionNumber, Weights

MOST_MISMATCH = 1e9
"""JSON has no infinity."""
LEAST_UNITS = 100
"""Per version; with fewer the intervals do not hold yet."""

EMPTY: Mapping[str, Metric] = {}
Figures = tuple[dict[VersionNumber, float], list[Difference]]
"""Values of the versions that have any, and the difference of each pair."""
Claim = tuple[str, VersionNumber, VersionNumber]
"""That a metric differs between a base and a version."""


def compare(
    seen: Mapping[VersionNumber, Seen],
    *,
    metrics: Sequence[str],
    weights: Weights,
    planned: int,
    complete: bool,
    primary: Sequence[str] = (),
    declarations: Mapping[str, Metric] = EMPTY,
) -> Comparison:
    """`seen` in the order A, B and so on. `planned` users of two versions together, fixed before the test began.

    `weights` are those by which the users were split; `complete` says that the test has run its least time. A winner
    must win one of the `primary` metrics, or one of all where none is named.
    """
    measures = {**MEASURES, **{name: declared(name, metric) for name, metric in declarations.items()}}
    known = [name for name in metrics if name in measures and measures[name].measured(list(seen.values()))]
    users = {version: one.usage.user_count for version, one in seen.items()}
    found = Comparison(
        versions=list(seen),
        units={version: round(count) for version, count in users.items()},
        planned=planned,
        metrics=[_metric(name, measures[name], seen, planned=planned) for name in known],
        not_measured=[name for name in metrics if name not in known],
        mismatch=min(sample_ratio.mismatch(sample_ratio.thinned(users), weights), MOST_MISMATCH),
    )
    unready = _unready(found, complete=complete)
    best = _best(found, primary or known)
    if best is None:
        return msgspec.structs.replace(found, withheld=[*unready, *_undecided(found)])
    return msgspec.structs.replace(found, winner=None if unready else best, withheld=unready)


def _metric(name: str, measure: Measure, seen: Mapping[VersionNumber, Seen], *, planned: int) -> MetricComparison:
    match measure.figures:
        case Ratio() as ratio:
            values, differences = _of_ratio(ratio, seen, planned=planned)
        case Quantile() as quantile:
            values, differences = _of_quantile(quantile, seen)
    found = MetricComparison(
        metric=name,
        title=measure.title,
        kind=measure.kind,
        direction=measure.direction,
        values=values,
        matters=measure.matters(next(iter(values.values()))) if values else 0.0,
        differences=differences,
        standings={},
    )
    return msgspec.structs.replace(found, standings={version: _standing(found, version, seen) for version in seen})


def _of_ratio(ratio: Ratio, seen: Mapping[VersionNumber, Seen], *, planned: int) -> Figures:
    doubt = ratio.doubt(list(seen.values()))
    samples = {version: found for version, one in seen.items() if (found := ratio.sample(one, doubt=doubt))}
    values = {version: sample.mean for version, sample in samples.items()}
    return values, [_difference(base, version, samples, planned=planned) for base, version in combinations(samples, 2)]


def _difference(
    base: VersionNumber, version: VersionNumber, samples: Mapping[VersionNumber, Sample], *, planned: int
) -> Difference:
    seen = contrast(samples[base], samples[version])
    reach = half_width(seen, planned=planned)
    return Difference(
        base=base,
        version=version,
        value=seen.value,
        low=seen.value - reach,
        high=seen.value + reach,
        confidence=1 - p_value(seen, planned=planned),
    )


def _of_quantile(quantile: Quantile, seen: Mapping[VersionNumber, Seen]) -> Figures:
    spreads = {version: found for version, one in seen.items() if (found := quantile.spread(one))}
    values = {version: spread.value(quantile.q) for version, spread in spreads.items()}
    return values, [_apart(base, version, spreads, quantile.q) for base, version in combinations(spreads, 2)]


def _apart(
    base: VersionNumber, version: VersionNumber, spreads: Mapping[VersionNumber, Spread], q: float
) -> Difference:
    ours, theirs = spreads[version], spreads[base]
    low, high = quantiles.difference(theirs, ours, q)
    return Difference(
        base=base,
        version=version,
        value=ours.value(q) - theirs.value(q),
        low=low,
        high=high,
        confidence=1 - quantiles.p_value(theirs, ours, q),
    )


def _standing(metric: MetricComparison, version: VersionNumber, seen: Mapping[VersionNumber, Seen]) -> Standing:
    """Against all others: one is enough to lose, all are needed to win."""
    if min(round(one.usage.user_count) for one in seen.values()) < LEAST_UNITS:
        return Standing.INSUFFICIENT
    each = {_against(metric, one, version) for one in metric.differences if version in (one.base, one.version)}
    if Standing.LOSE in each:
        return Standing.LOSE
    return each.pop() if len(each) == 1 else Standing.INSUFFICIENT


def _against(metric: MetricComparison, seen: Difference, version: VersionNumber) -> Standing:
    """How `version`, one of the pair, stands against the other. A difference too small to matter is none."""
    if -metric.matters < seen.low and seen.high < metric.matters:
        return Standing.EQUIVALENT
    if seen.low <= 0 <= seen.high:
        return Standing.INSUFFICIENT
    lower = version == (seen.version if seen.value < 0 else seen.base)
    return Standing.WIN if lower == (metric.direction is Direction.LOWER) else Standing.LOSE


def _unready(found: Comparison, *, complete: bool) -> list[str]:
    """Why no version may win yet, whatever the figures say."""
    few = [
        f"v{version} has {units} user{'' if units == 1 else 's'}, {LEAST_UNITS} are needed"
        for version, units in found.units.items()
        if units < LEAST_UNITS
    ]
    skewed = (
        ["the users are not split as the weights say: something keeps those of one version away"]
        if found.mismatch >= sample_ratio.ALARM
        else []
    )
    return [*few, *skewed, *([] if complete else ["the test has not run its time"])]


def _best(found: Comparison, primary: Sequence[str]) -> VersionNumber | None:
    """The version that beats every other and loses nothing."""
    sure = _sure(found, primary)
    for version in found.versions:
        others = [other for other in found.versions if other != version]
        loses = any(metric.standings[version] is Standing.LOSE for metric in found.metrics)
        if others and not loses and all(_beats(found, version, other, sure) for other in others):
            return version
    return None


def _beats(found: Comparison, version: VersionNumber, other: VersionNumber, sure: set[Claim]) -> bool:
    return any(
        _against(metric, one, version) is Standing.WIN
        for metric in found.metrics
        for one in metric.differences
        if {one.base, one.version} == {version, other} and (metric.metric, one.base, one.version) in sure
    )


def _sure(found: Comparison, primary: Sequence[str]) -> set[Claim]:
    """The differences in primary metrics that stand together (Holm 1979)."""
    claims = sorted(
        (1 - one.confidence, (metric.metric, one.base, one.version))
        for metric in found.metrics
        if metric.metric in primary
        for one in metric.differences
    )
    sure = set[Claim]()
    for left, (p, claim) in zip(range(len(claims), 0, -1), claims, strict=True):
        if p > ALPHA / left:
            break
        sure.add(claim)
    return sure


def _undecided(found: Comparison) -> list[str]:
    """Why no version is the best."""
    mixed = [
        f"v{version} is better in {_named(found, version, Standing.WIN)}"
        f" and worse in {_named(found, version, Standing.LOSE)}"
        for version in found.versions
        if {Standing.WIN, Standing.LOSE} <= {metric.standings[version] for metric in found.metrics}
    ]
    return mixed or ["no version is surely better than every other"]


def _named(found: Comparison, version: VersionNumber, standing: Standing) -> str:
    return " and ".join(metric.metric for metric in found.metrics if metric.standings[version] is standing)
