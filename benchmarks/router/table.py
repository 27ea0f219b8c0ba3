"""The figures as a person reads them."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.router.case import Case
from benchmarks.router.figures import Round, disturbed, faults, medians, ratio
from benchmarks.router.proxies import OURS

GOALS = {"haproxy": 1.0, "nginx": 1.0, "envoy": 0.5, "traefik": 0.35, "aiohttp": 0.15}
"""Processor time per request, ours by theirs, at most."""
HEADS = ("CPU µs", "user", "system", "per s", "p50 ms", "p99 ms", "MiB", "busy", "made", "errors", "ours/it", "goal")
"""`busy`: part of its core that the proxy had; `made`: connections to the backends that it made, per request."""


def lines(case: Case, rounds: Mapping[str, Sequence[Round]], failed: Mapping[str, str]) -> list[str]:
    """Of one case, by proxy; what makes a row not comparable stands below it. `failed`: why, by proxy."""
    told = [f"{case.name}: {case.title}; CPU per {case.unit}", f"  {'':<10}" + "".join(f"{it:>9}" for it in HEADS)]
    for name, its in rounds.items():
        cells = _cells(name, its, rounds.get(OURS, ()))
        told.append(f"  {name:<10}" + "".join(f"{it:>9}" for it in cells))
        told += [f"  {'':<10} ! {fault}" for fault in faults(its)]
        if coarse := disturbed(its):
            told.append(f"  {'':<10} ~ {coarse}")
    return told + [f"  {name:<10} ! failed: {why}" for name, why in failed.items()]


def _cells(name: str, rounds: Sequence[Round], ours: Sequence[Round]) -> list[str]:
    its = medians(rounds)
    compared = ratio(ours, rounds) if name != OURS else None
    return [
        f"{its.cpu_us:.1f}",
        f"{its.user_us:.1f}",
        f"{its.system_us:.1f}",
        f"{its.rps:,.0f}",
        f"{its.p50_ms:.2f}",
        f"{its.p99_ms:.2f}",
        f"{its.rss_mib:.0f}",
        f"{statistics.median(it.busy for it in rounds):.0%}",
        f"{statistics.median(it.made for it in rounds):.1%}",
        str(its.errors),
        f"{compared:.2f}" if compared else "",
        f"{GOALS[name]:.2f}" if compared else "",
    ]


def parents(rounds: Mapping[str, Mapping[str, Sequence[Round]]]) -> str | None:
    """What ours takes for the process that serves nothing, of all cases the most."""
    taken = [it.memory.parents_mib for rows in rounds.values() for it in rows.get(OURS, ())]
    return f"{OURS}: its parent process takes {max(taken):.0f} MiB besides" if taken else None
