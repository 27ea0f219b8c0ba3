"""What an A/B test found: each metric of each version, their differences, and the winner where one is earned."""

from collections.abc import Callable
from enum import StrEnum

from hotswap.metric import Direction
from hotswap.model import Model, VersionNumber

MOST_CONFIDENT = 0.9999
"""Confidence above this is told as "over"."""


UNBOUNDED = 1e9
"""JSON has no infinity: the end of an interval that has none."""


class Kind(StrEnum):
    """How values are told."""

    DURATION = "duration"
    """In milliseconds."""
    RATE = "rate"
    """As a share, 0 to 1."""
    NUMBER = "number"


class Standing(StrEnum):
    WIN = "win"
    LOSE = "lose"
    EQUIVALENT = "equivalent"
    """Any difference is smaller than one that matters."""
    INSUFFICIENT = "insufficient"


class Difference(Model, frozen=True, kw_only=True):
    """`version` less `base`, with the interval that holds it however often one looks (95 %)."""

    base: VersionNumber
    version: VersionNumber
    value: float
    low: float
    high: float
    confidence: float
    """That there is a difference at all: 1 less the p that is valid however often one looks."""


class MetricComparison(Model, frozen=True, kw_only=True):
    metric: str
    """As it was asked for: `responseTime`."""
    title: str
    kind: Kind
    direction: Direction
    values: dict[VersionNumber, float]
    """Of the versions that have any unit."""
    matters: float
    """The smallest difference that matters: one that is surely smaller is none."""
    differences: list[Difference]
    """Of each pair of versions, the one that was named first being the base."""
    standings: dict[VersionNumber, Standing]
    """Against all other versions."""

    @property
    def winner(self) -> VersionNumber | None:
        return next((version for version, one in self.standings.items() if one is Standing.WIN), None)


class Comparison(Model, frozen=True, kw_only=True):
    unit: str = "user"
    """What was counted as one independent observation: whoever the alias's sticky rule tells from others."""
    versions: list[VersionNumber]
    """A, B and so on."""
    units: dict[VersionNumber, int]
    """An estimate, to 1 % or so up to 100,000 of them."""
    planned: int
    """Units of two versions together that the intervals are made for."""
    metrics: list[MetricComparison]
    not_measured: list[str]
    """Metrics that were asked for and that nobody has reported."""
    mismatch: float
    """ln of the evidence that the units are not split as the weights say."""
    winner: VersionNumber | None = None
    withheld: list[str] = []
    """Why there is no winner, a sentence each."""


def decision(comparison: Comparison) -> str:
    """In a sentence, as the guide's table ends."""
    if comparison.winner is None:
        return f"No winner: {'; '.join(comparison.withheld)}"
    won = sum(metric.winner == comparison.winner for metric in comparison.metrics)
    return f"Promote v{comparison.winner} (wins {won}/{len(comparison.metrics)} metrics, loses none)"


def headings(comparison: Comparison) -> list[str]:
    lettered = [f"Version {chr(ord('A') + i)} (v{version})" for i, version in enumerate(comparison.versions)]
    return ["Metric", *lettered, "Winner", "Difference", "95 % interval", "Confidence"]


def rows(comparison: Comparison) -> list[list[str]]:
    """The cells under `headings`; where more than two versions are compared, a cell has a line for each pair."""
    absent = [""] * len(comparison.versions)
    unknown = [[name, *absent, "not measured", "", "", ""] for name in comparison.not_measured]
    return [_row(comparison, metric) for metric in comparison.metrics] + unknown


def _row(comparison: Comparison, metric: MetricComparison) -> list[str]:
    values = [metric.values.get(version) for version in comparison.versions]
    return [
        metric.title,
        *("" if value is None else _value(metric.kind, value) for value in values),
        _winner(metric),
        _lines(metric, lambda one: _signed(metric.kind, one.value)),
        _lines(metric, lambda one: f"{_signed(metric.kind, one.low)} to {_signed(metric.kind, one.high)}"),
        _lines(metric, lambda one: _confidence(one.confidence)),
    ]


def _lines(metric: MetricComparison, cell: Callable[[Difference], str]) -> str:
    if len(metric.differences) == 1:
        return cell(metric.differences[0])
    return "\n".join(f"v{one.version} - v{one.base}: {cell(one)}" for one in metric.differences)


def _winner(metric: MetricComparison) -> str:
    if metric.winner is not None:
        return f"v{metric.winner} ✓"
    alike = all(one is Standing.EQUIVALENT for one in metric.standings.values())
    return "equivalent" if alike else "not enough data"


def _value(kind: Kind, value: float) -> str:
    match kind:
        case Kind.DURATION:
            return f"{value:.{_digits(value)}f} ms"
        case Kind.RATE:
            return f"{value * 100:.3g} %"
        case Kind.NUMBER:
            return f"{value:.4g}"


def _signed(kind: Kind, value: float) -> str:
    """The difference of two rates is told in percentage points."""
    if abs(value) >= UNBOUNDED:
        return "-∞" if value < 0 else "+∞"
    match kind:
        case Kind.DURATION:
            return f"{value:+.{_digits(value)}f} ms"
        case Kind.RATE:
            return f"{value * 100:+.2g} pp"
        case Kind.NUMBER:
            return f"{value:+.3g}"


def _digits(milliseconds: float) -> int:
    return 0 if abs(milliseconds) >= 10 else 2


def _confidence(confidence: float) -> str:
    return f"{confidence * 100:.3g} %" if confidence <= MOST_CONFIDENT else f"over {MOST_CONFIDENT * 100:g} %"
