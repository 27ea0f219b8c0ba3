"""What a function's versions did and what they use, for people and for programs that do not read Prometheus's words."""

from datetime import datetime

from hotswap.metrics import ERRORS, Count, CounterRow, Tally
from hotswap.model import Model, VersionNumber

PARTS = ("fetch", "spawn", "ready", "import", "init", "warm", "first")
"""Of a start, in their order."""


class VersionFigures(Model, frozen=True, kw_only=True):
    """Of one version under one alias, since the routers that run now have counted."""

    alias: str
    """Empty for invocations that named their version."""
    version: VersionNumber
    invocations: int
    success_rate: float | None
    errors: dict[str, int]
    """By cause: `status` (a 5xx), `exception`, `timeout`, `died` (its instance broke the connection)."""
    platform_failures: int
    """No invocations of the version: the platform failed them."""
    p50: float | None
    """Milliseconds; absent where there is no invocation, or where it is past 60 s."""
    p95: float | None
    p99: float | None
    cold_starts: int
    cold_start_rate: float | None
    in_flight: int
    reported: dict[str, float]
    """Means of what was reported, by name."""


class InstanceFigures(Model, frozen=True, kw_only=True):
    node: str
    version: VersionNumber
    instance: str
    state: str
    memory: int
    """Bytes, as the proportional share (PSS)."""
    cpu_seconds: float
    restarts: int
    last_exit: str = ""
    """How the one before it in its place ended, or why it does not start."""
    last_cause: str = ""
    """The same in a word: memory, disk, processes, time-out, signal, code, start, …"""
    start_ms: dict[str, float]
    """Parts of its start, in milliseconds: `fetch` of the artifact, `ready` from the process to when it takes requests,
    of that `import` and `init`, then `warm`, and `first` from when it takes requests to the end of its first answer. Of
    the last start while it sleeps; empty where it was taken over from an earlier agent."""
    wakes: int = 0
    """How often invocations have woken it."""


class Incident(Model, frozen=True, kw_only=True):
    """What an instance ran into."""

    at: datetime
    node: str
    version: VersionNumber
    instance: str
    cause: str
    text: str


class Figures(Model, frozen=True, kw_only=True):
    function: str
    versions: list[VersionFigures]
    instances: list[InstanceFigures]
    incidents: list[Incident] = []
    """The last that its agents remember, the newest at the end."""
    missing: list[str]
    """What did not answer, so that its figures are not in it."""


def of_version(alias: str, version: VersionNumber, rows: list[CounterRow]) -> VersionFigures:
    tally = Tally.total(row.tally.counts for row in rows)
    invocations, cold = tally.invocations, tally[Count.COLD]
    reported: dict[str, tuple[int, float]] = {}
    for row in rows:
        for name, one in row.usage.reported.items() if row.usage else ():
            count, total = reported.get(name, (0, 0.0))
            reported[name] = (count + one.count, total + one.sum)
    return VersionFigures(
        alias=alias,
        version=version,
        invocations=invocations,
        success_rate=1 - tally.errors / invocations if invocations else None,
        errors={cause.name.lower(): tally[cause] for cause in ERRORS},
        platform_failures=tally[Count.PLATFORM],
        p50=_milliseconds(tally, 0.5),
        p95=_milliseconds(tally, 0.95),
        p99=_milliseconds(tally, 0.99),
        cold_starts=cold,
        cold_start_rate=cold / invocations if invocations else None,
        in_flight=sum(row.in_flight for row in rows),
        reported={name: total / count for name, (count, total) in reported.items()},
    )


def _milliseconds(tally: Tally, q: float) -> float | None:
    seconds = tally.quantile(q)
    return None if seconds is None or seconds == float("inf") else seconds * 1e3
