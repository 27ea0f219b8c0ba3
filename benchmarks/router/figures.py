"""What a round shows, and what many rounds show together."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.router.backend import Count, off_balance
from benchmarks.router.load import Report
from benchmarks.router.process import Usage

DISTURBING = 0.05
"""Part of a core."""


@dataclass(frozen=True)
class Snapshot:
    """In the middle of the load; each of the two has its own time, in seconds."""

    used_at: float
    usage: Usage
    counted_at: float
    count: Count
    core: float
    """Seconds that the proxy's core was busy, whoever had it."""


@dataclass(frozen=True)
class Memory:
    serving_mib: float
    parents_mib: float


@dataclass(frozen=True)
class Round:
    user_us: float
    system_us: float
    """Per request, or per event."""
    rps: float
    busy: float
    """Part of its core that the proxy had."""
    others: float
    """Part of it that others had."""
    made: float
    """Connections to backends that were made, per request: 0 where all are kept alive."""
    report: Report
    memory: Memory
    shared: Sequence[int]
    """Requests by backend, before the measured part."""
    waiting: int = 0
    """Requests that may have been on their way to a backend at that moment."""

    @property
    def cpu_us(self) -> float:
        return self.user_us + self.system_us


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds; errors are those of all rounds together."""

    cpu_us: float
    user_us: float
    system_us: float
    rps: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    errors: int


def measured(first: Snapshot, second: Snapshot, *, report: Report, memory: Memory, shared: Sequence[int]) -> Round:
    """From two snapshots; raises `ValueError` if nothing was done between them.

    The processor and the requests are not read at the very same moment, so their rates are divided, not their counts.
    """
    seconds = second.used_at - first.used_at
    user = (second.usage.user - first.usage.user) / seconds
    system = (second.usage.system - first.usage.system) / seconds
    done = second.count - first.count
    if done.requests <= 0:
        raise ValueError("no request got through while it was measured")
    rate = done.requests / (second.counted_at - first.counted_at)
    made = done.connections / done.requests
    busy = user + system
    others = max(0.0, (second.core - first.core) / seconds - busy)
    return Round(user / rate * 1e6, system / rate * 1e6, rate, busy, others, made, report, memory, shared)


def medians(rounds: Sequence[Round]) -> Figures:
    def middle(values: Sequence[float], digits: int) -> float:
        return round(statistics.median(values), digits)

    return Figures(
        cpu_us=middle([it.cpu_us for it in rounds], 2),
        user_us=middle([it.user_us for it in rounds], 2),
        system_us=middle([it.system_us for it in rounds], 2),
        rps=middle([it.rps for it in rounds], 1),
        p50_ms=middle([it.report.p50_ms for it in rounds], 3),
        p99_ms=middle([it.report.p99_ms for it in rounds], 3),
        rss_mib=middle([it.memory.serving_mib for it in rounds], 1),
        errors=sum(it.report.errors for it in rounds),
    )


def faults(rounds: Sequence[Round]) -> list[str]:
    """Why the figures of these rounds are not to be compared."""
    kinds: Counter[str] = Counter()
    for it in rounds:
        kinds.update(it.report.kinds)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return ([f"errors: {told}"] if told else []) + [
        why for it in rounds if (why := off_balance(it.shared, waiting=it.waiting))
    ]


def disturbed(rounds: Sequence[Round]) -> str | None:
    """What else made the figures of these rounds coarse."""
    others = statistics.median(it.others for it in rounds)
    return f"others had {others:.0%} of its core" if others > DISTURBING else None


def ratio(ours: Sequence[Round], other: Sequence[Round]) -> float | None:
    """How much of the other's processor time ours takes: the median over pairs of rounds, which were run one soon after
    the other, so that what makes the whole machine slower for a while is in both."""
    pairs = zip(ours, other, strict=False)
    found = [mine.cpu_us / its.cpu_us for mine, its in pairs if its.cpu_us]
    return statistics.median(found) if found else None
