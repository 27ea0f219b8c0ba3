"""`/metrics`: what all workers have counted, in Prometheus's words.

Totals by function, alias (empty for invocations that named their version) and version, of those that were ever invoked.
Buckets of the latency are at every second boundary of `hotswap.metrics`.
"""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hotswap.metrics import BOUNDARIES, FIXED, OUTCOMES, Count
from hotswap.usage import Usage
from router.counters import Own
from router.keeper import Keeper
from router.rows import Rows, Total
from router.workers import Workers

LABELS = ("function", "alias", "version")
STEP = 2
"""Boundaries that make one bucket."""
MICROSECONDS = 1e-6


class RouterCollector(Collector):
    def __init__(self, *, rows: Rows, workers: Workers, keeper: Keeper) -> None:
        self._rows = rows
        self._workers = workers
        self._keeper = keeper
        self._totals: Totals = {}
        self._reported: Mapping[Total, Usage] = {}
        self._others: list[Metric] = []

    def look(self) -> None:
        """Reads what `collect` tells, which may then be done in another thread."""
        self._totals = self._rows.totals()
        self._reported = self._rows.reported()
        self._others = [*self._own(), *self._router()]

    def collect(self) -> Iterator[Metric]:
        totals = self._totals
        yield _invocations(totals)
        yield _durations(totals)
        yield _counter(totals, "cold_starts", "Invocations that had to wait for their instance", Count.COLD)
        yield _counter(totals, "slow_invocations", "Invocations slower than their alias's latency limit", Count.SLOW)
        yield _counter(totals, "platform_failures", "Invocations that failed by the platform's doing", Count.PLATFORM)
        in_flight = GaugeMetricFamily("hotswap_in_flight", "Invocations that are under way", labels=LABELS)
        for (function, alias, version), (_, flying) in totals.items():
            in_flight.add_metric([function, alias, str(version)], flying)
        yield in_flight
        yield from _reports(self._reported)
        yield from self._others

    def _own(self) -> Iterator[Metric]:
        told: dict[Own, tuple[str, str]] = {
            Own.MALFORMED: ("malformed_requests", "Requests that are not HTTP/1.1"),
            Own.REFUSED: ("refused_requests", "Requests that the router answered by itself before picking a version"),
            Own.RETRIES: ("retries", "Invocations that were sent once more, or to another endpoint"),
            Own.EJECTIONS: ("ejections", "Times that an endpoint was ejected"),
            Own.HELD: ("held_invocations", "Invocations that waited for an endpoint"),
        }
        for own, (name, help_) in told.items():
            total = sum(file.own(own) for file in self._rows.files)
            yield CounterMetricFamily(f"hotswap_router_{name}", help_, value=total)

    def _router(self) -> Iterator[Metric]:
        restarts = self._workers.restarts
        yield CounterMetricFamily("hotswap_router_worker_restarts", "Workers that died", value=restarts)
        kept = self._keeper.kept
        yield GaugeMetricFamily("hotswap_router_kept_endpoints", "Endpoints used though they vanished", value=kept)
        applied = self._workers.applied
        revision = GaugeMetricFamily(
            "hotswap_router_applied_revision", "Revision that every worker has", labels=["subject"]
        )
        revision.add_metric(["aliases"], applied.aliases)
        revision.add_metric(["endpoints"], applied.endpoints)
        yield revision


Totals = dict[Total, tuple[list[int], int]]


def _invocations(totals: Totals) -> Metric:
    family = CounterMetricFamily("hotswap_invocations", "Invocations by outcome", labels=[*LABELS, "outcome"])
    for (function, alias, version), (counts, _) in totals.items():
        for outcome in OUTCOMES:
            family.add_metric([function, alias, str(version), outcome.name.lower()], counts[outcome])
    return family


def _counter(totals: Totals, name: str, help_: str, count: Count) -> Metric:
    family = CounterMetricFamily(f"hotswap_{name}", help_, labels=LABELS)
    for (function, alias, version), (counts, _) in totals.items():
        family.add_metric([function, alias, str(version)], counts[count])
    return family


def _reports(reported: Mapping[Total, Usage]) -> Iterator[Metric]:
    labels = [*LABELS, "metric"]
    values = SummaryMetricFamily("hotswap_reported_value", "What functions report of themselves", labels=labels)
    squares = CounterMetricFamily("hotswap_reported_value_squares", "Sum of the squares of that", labels=labels)
    refused = CounterMetricFamily("hotswap_refused_reports", "Reports that were not counted", labels=[*LABELS, "why"])
    for (function, alias, version), usage in reported.items():
        of = [function, alias, str(version)]
        for name, one in usage.reported.items():
            values.add_metric([*of, name], count_value=one.count, sum_value=one.sum)
            squares.add_metric([*of, name], one.squares)
        refused.add_metric([*of, "malformed"], usage.malformed)
        refused.add_metric([*of, "too_many_names"], usage.crowded)
    yield from (values, squares, refused)


def _durations(totals: Totals) -> Metric:
    family = HistogramMetricFamily("hotswap_invocation_duration_seconds", "From head to last byte", labels=LABELS)
    for (function, alias, version), (counts, _) in totals.items():
        seconds = counts[Count.MICROSECONDS] * MICROSECONDS
        family.add_metric([function, alias, str(version)], buckets(counts[FIXED:]), sum_value=seconds)
    return family


def buckets(fine: list[int]) -> list[tuple[str, float]]:
    """Cumulative, by upper bound."""
    told: list[tuple[str, float]] = []
    total = 0
    for index, boundary in enumerate(BOUNDARIES):
        total += fine[index]
        if index % STEP == STEP - 1:
            told.append((f"{boundary:.6g}", total))
    return [*told, ("+Inf", total + fine[-1])]
