"""`/metrics/revisions`: what is counted, by the revision of the weights under which the version was picked.

For controllers that judge by Prometheus. A path of its own, since nobody else needs it: each change of weights begins
new series, and they end some time after the weights do (`router.rows`).
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hotswap import series
from hotswap.metrics import CounterRow
from hotswap.model import Router
from router.rows import Rows

HELP = {
    series.INVOCATIONS: "Invocations by outcome",
    series.DURATIONS: "Invocations by bucket of their duration, which none but this has; empty ones are left out",
    series.SECONDS: "Sum of the durations",
    **{name: f"Invocations, of these counts: {count.name.lower()}" for name, count in series.COUNTS.items()},
}
MORE = {series.INVOCATIONS: [series.OUTCOME], series.DURATIONS: [series.UP_TO]}
"""Labels besides those that all have."""


class RevisionCollector(Collector):
    def __init__(self, *, rows: Rows, router: Callable[[], Router]) -> None:
        self._rows = rows
        self._router = router
        self._told: list[CounterRow] = []

    def look(self) -> None:
        """Reads what `collect` tells, which may then be done in another thread."""
        self._told = self._rows.by_revision()

    def collect(self) -> Iterator[Metric]:
        router = self._router()
        boot = GaugeMetricFamily(series.BOOT, "1 for what runs now", labels=["router", "boot"])
        boot.add_metric([router.name, router.boot], 1)
        yield boot
        families = {
            name: CounterMetricFamily(name.removesuffix("_total"), text, labels=[*series.LABELS, *MORE.get(name, [])])
            for name, text in HELP.items()
        }
        for row in self._told:
            of = [row.function, row.alias, str(row.version), str(row.alias_revision), router.boot]
            for name, more, value in series.written(row.tally):
                families[name].add_metric([*of, *more.values()], value)
        yield from families.values()
