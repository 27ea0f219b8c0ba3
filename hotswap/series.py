"""The counts of one version under one set of weights as series of Prometheus: a router tells them at
`/metrics/revisions`, a controller that judges by Prometheus puts them together again, to the last count.

A series begins at zero when its weights do and is of one boot of one router, so it never falls, and no window has to be
cut out of it.
"""

from collections.abc import Iterator, Mapping

from hotswap.metrics import BOUNDARIES, BUCKETS, FIXED, OUTCOMES, Count, Tally

BOOT = "hotswap_router_boot"
"""With the labels `router` and `boot`: 1, as long as it runs."""
PREFIX = "hotswap_revision_"
LABELS = ("function", "alias", "version", "revision", "boot")
"""Of every series that begins with `PREFIX`."""
INVOCATIONS, OUTCOME = f"{PREFIX}invocations_total", "outcome"
"""By this label as well."""
DURATIONS, UP_TO = f"{PREFIX}durations_total", "up_to"
"""By bucket, which this label tells the upper bound of, in seconds; the empty ones are left out."""
SECONDS = f"{PREFIX}duration_seconds_total"
MICROSECONDS = 1_000_000
COUNTS = {
    f"{PREFIX}platform_failures_total": Count.PLATFORM,
    f"{PREFIX}slow_invocations_total": Count.SLOW,
    f"{PREFIX}cold_starts_total": Count.COLD,
}
NAMES = (INVOCATIONS, DURATIONS, SECONDS, *COUNTS)

_OUTCOMES = {outcome.name.lower(): outcome for outcome in OUTCOMES}
_UP_TO = (*(f"{boundary:.6g}" for boundary in BOUNDARIES), "+Inf")
_BUCKETS = {text: bucket for bucket, text in enumerate(_UP_TO)}


def written(tally: Tally) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Name, what it has for labels besides `LABELS`, and value. All that can be zero without being told is left out,
    but for the outcomes: so that no series is not taken for no errors."""
    for text, outcome in _OUTCOMES.items():
        yield INVOCATIONS, {OUTCOME: text}, tally[outcome]
    for name, count in COUNTS.items():
        yield name, {}, tally[count]
    yield SECONDS, {}, tally[Count.MICROSECONDS] / MICROSECONDS
    for bucket in range(BUCKETS):
        if tally.buckets[bucket]:
            yield DURATIONS, {UP_TO: _UP_TO[bucket]}, tally.buckets[bucket]


def read(name: str, labels: Mapping[str, str], value: float) -> tuple[int, int]:
    """Position in a row, and what stands there. Raises `KeyError` or `ValueError` for what no router tells."""
    if name == SECONDS:
        return Count.MICROSECONDS, round(value * MICROSECONDS)
    if name == INVOCATIONS:
        return _OUTCOMES[labels[OUTCOME]], round(value)
    if name == DURATIONS:
        return FIXED + _BUCKETS[labels[UP_TO]], round(value)
    return COUNTS[name], round(value)
