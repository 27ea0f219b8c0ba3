"""`/metrics` of an agent: what the versions on its node use and how they fare, in Prometheus's words.

By function and version, summed over the instances of the node: an instance has no series of its own, since each start
would begin some. Prometheus says by itself which node it has asked.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.cause import Cause
from agent.coldstarts import BOUNDS, ColdStarts
from agent.ledger import Key, Ledger
from agent.progress import State
from agent.resources import used
from agent.slot import Slot
from agent.supervisor import Supervisor

LABELS = ("function", "version")


class AgentCollector(Collector):
    def __init__(self, supervisor: Supervisor, ledger: Ledger) -> None:
        self._supervisor = supervisor
        self._ledger = ledger
        self._families: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        yield from self._families

    async def look(self) -> None:
        """Measures what `collect` tells, which may then be done in another thread."""
        leaders = {slot.instance.process.pid: _key(slot) for slot in self._supervisor.slots() if slot.instance}
        found = await asyncio.to_thread(used, list(leaders))
        states = defaultdict[Key, Counter[State]](Counter)
        for slot in self._supervisor.slots():
            states[_key(slot)][slot.state] += 1
        memory = Counter[Key]()
        for pid, using in found.items():
            memory[leaders[pid]] += using.memory
        self._ledger.seen(found)
        self._ledger.cold.look()
        self._ledger.forget(states)
        self._families = [*_present(states, memory), *_past(self._ledger), _cold(self._ledger.cold)]


def _present(states: Mapping[Key, Counter[State]], memory: Counter[Key]) -> Iterator[Metric]:
    """Of versions that have a place on the node."""
    instances = GaugeMetricFamily("hotswap_instances", "Places for instances, by state", labels=[*LABELS, "state"])
    used_memory = GaugeMetricFamily(
        "hotswap_instance_memory_bytes", "Proportional share (PSS) of all processes of the instances", labels=LABELS
    )
    for key, counts in states.items():
        for state in State:
            instances.add_metric([*_labels(key), state.value.replace(" ", "_")], counts[state])
        used_memory.add_metric(_labels(key), memory[key])
    yield from (instances, used_memory)


def _past(ledger: Ledger) -> Iterator[Metric]:
    """Of all versions that the node has run since its agent began."""
    cpu = _counter("cpu_seconds", "Processor time of instances that run and of those that have ended")
    starts = _counter("starts", "Instances that became ready")
    wakes = _counter("wakes", "Instances that an invocation has woken, which waited for them")
    restarts = _counter("restarts", "Instances that were started again after one had failed")
    ends = _counter("ends", "Instances that ended, or did not become ready, by cause", "cause")
    parts = SummaryMetricFamily("hotswap_instance_start_seconds", "What starts took, by part", labels=[*LABELS, "part"])
    for key, spent in ledger.cpu().items():
        cpu.add_metric(_labels(key), spent)
    for key, account in ledger.accounts.items():
        starts.add_metric(_labels(key), account.starts)
        wakes.add_metric(_labels(key), account.wakes)
        restarts.add_metric(_labels(key), account.restarts)
        for cause in Cause:
            ends.add_metric([*_labels(key), cause.value], account.ends[cause])
        for part, (count, seconds) in account.parts.items():
            parts.add_metric([*_labels(key), part], count_value=count, sum_value=seconds)
    yield from (cpu, starts, wakes, restarts, ends, parts)


def _cold(cold: ColdStarts) -> Metric:
    """Of the node."""
    told = HistogramMetricFamily("hotswap_cold_start_seconds", "What cold starts on the node took", labels=["part"])
    for part, histogram in cold.parts.items():
        bounds = [*map(str, BOUNDS), "+Inf"]
        told.add_metric([part], [*zip(bounds, accumulate(histogram.counts), strict=True)], histogram.seconds)
    return told


def _counter(name: str, text: str, *more: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"hotswap_instance_{name}", text, labels=[*LABELS, *more])


def _key(slot: Slot) -> Key:
    return slot.function, slot.version


def _labels(key: Key) -> list[str]:
    function, version = key
    return [function, str(version)]
