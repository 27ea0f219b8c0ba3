"""Compares the versions of an A/B test, and names a winner only where one is earned. Pure.

The unit ought to be the user, as the sticky key tells one from another. Tallies count invocations, so the unit here is
the *invocation*, and `Comparison.unit` says so: where a user makes many, their likeness makes the intervals narrower
than they should be.

Every interval and every p is valid at all times at once (`sequence`), so the comparison may be shown while the test
runs. A version wins the test only if it wins a primary metric against every other (Holm's correction over the
primaries and pairs), loses none, if the traffic was split as the weights say, the test has run its time, and each
version has `LEAST_UNITS`.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec

from hotswap.comparison import Comparison, Difference, Direction, MetricComparison, Standing
from hotswap.judge import sample_ratio
from hotswap.judge.measures import MEASURES, Measure
from hotswap.judge.sequence import ALPHA, Sample, contrast, half_width, p_value
from hotswap.judge.wording import plural
from hotswap.metrics import Tally
from hotswap.model import VersionNumber

MOST_MISMATCH = 1e9
"""JSON has no infinity."""
LEAST_UNITS = 100
"""Per version; with fewer the intervals do not hold yet."""

Claim = tuple[str, VersionNumber, VersionNumber]
"""That a metric differs between a base and a version."""


def compare(
    tallies: Mapping[VersionNumber, Tally],
    *,
    metrics: Sequence[str],
    planned: int,
    mismatch: float,
    complete: bool,
    primary: Sequence[str] = (),
) -> Comparison:
    """`tallies` in the order A, B and so on. `planned` units of two versions together, fixed before the test began.

    `mismatch` is `sample_ratio.mismatch`'s; `complete` says that the test has run its least time. A winner must win one
    of the `primary` metrics, or one of all where none is named.
    """
    measured = [_metric(name, MEASURES[name], tallies, planned=planned) for name in metrics if name in MEASURES]
    found = Comparison(
        versions=list(tallies),
        units={version: tally.invocations for version, tally in tallies.items()},
        planned=planned,
        metrics=measured,
        not_measured=[name for name in metrics if name not in MEASURES],
        mismatch=min(mismatch, MOST_MISMATCH),
    )
    unready = _unready(found, complete=complete)
    best = _best(found, primary or [metric.metric for metric in measured])
    if best is None:
        return msgspec.structs.replace(found, withheld=[*unready, *_undecided(found)])
    return msgspec.structs.replace(found, winner=None if unready else best, withheld=unready)


def _metric(name: str, measure: Measure, tallies: Mapping[VersionNumber, Tally], *, planned: int) -> MetricComparison:
    samples = {version: measure.figures(tally) for version, tally in tallies.items() if tally.invocations}
    pairs = combinations(samples, 2)
    found = MetricComparison(
        metric=name,
        title=measure.title,
        kind=measure.kind,
        direction=measure.direction,
        values={version: sample.mean for version, sample in samples.items()},
        matters=measure.matters(samples[next(iter(samples))].mean) if samples else 0.0,
        differences=[_difference(base, version, samples, planned=planned) for base, version in pairs],
        standings={},
    )
    return msgspec.structs.replace(
        found, standings={version: _standing(found, version, tallies) for version in tallies}
    )


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


def _standing(metric: MetricComparison, version: VersionNumber, tallies: Mapping[VersionNumber, Tally]) -> Standing:
    """Against all others: one is enough to lose, all are needed to win."""
    if min(tally.invocations for tally in tallies.values()) < LEAST_UNITS:
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
        f"v{version} has {plural(units)}, {LEAST_UNITS} are needed"
        for version, units in found.units.items()
        if units < LEAST_UNITS
    ]
    skewed = (
        ["the invocations are not split as the weights say: the versions may have served different users"]
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
