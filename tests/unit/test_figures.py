"""The figures of a version, from the counters of several routers, and how they are printed."""

from hotswap.cli.figures import instance_row, version_row
from hotswap.figures import InstanceFigures, of_version
from hotswap.metrics import FIXED, Count, CounterRow, Tally, bucket
from hotswap.usage import Reported, Usage


def row(*, good: int, in_flight: int = 0, revenue: float | None = None, **causes: int) -> CounterRow:
    counts = Tally.zero().counts
    counts[Count.OK] = good
    for cause, count in causes.items():
        counts[Count[cause.upper()]] = count
    counts[FIXED + bucket(0.1)] = good
    usage = Usage(reported={"revenue": Reported.one(revenue, cell=1)}) if revenue is not None else None
    tally = Tally(counts=counts)
    return CounterRow(
        function="f", alias="production", version=2, alias_revision=1, tally=tally, in_flight=in_flight, usage=usage
    )


def test_counts_of_all_routers_and_weights_are_told_together_and_errors_by_their_cause() -> None:
    rows = [
        row(good=90, timeout=6, in_flight=1, revenue=2.0),
        row(good=100, died=4, platform=3, cold=10, in_flight=2, revenue=4.0),
    ]
    found = of_version("production", 2, rows)
    assert (found.invocations, found.success_rate, found.in_flight) == (200, 0.95, 3)
    assert found.errors == {"status": 0, "exception": 0, "timeout": 6, "died": 4}
    assert (found.platform_failures, found.cold_starts, found.cold_start_rate) == (3, 10, 0.05)
    assert found.reported == {"revenue": 3.0}
    told = version_row(found)
    assert (told["SUCCESS"], told["COLD"], told["REPORTED"]) == ("95 %", "10 (5 %)", "revenue 3")
    assert told["ERRORS"] == "timeout 6, died 4, platform 3"


def test_a_version_that_was_not_invoked_has_no_rates() -> None:
    found = of_version("", 2, [row(good=0)])
    assert (found.success_rate, found.cold_start_rate, found.p50) == (None, None, None)
    told = version_row(found)
    assert (told["ALIAS"], told["SUCCESS"], told["P99"], told["ERRORS"]) == ("(by version)", "", "", "")


def test_an_instance_is_told_with_what_it_uses_and_the_parts_of_its_start() -> None:
    told = instance_row(
        InstanceFigures(
            node="n1",
            version=2,
            instance="i",
            state="ready",
            memory=20 * 1024 * 1024,
            cpu_seconds=1.25,
            restarts=0,
            start_ms={"fetch": 12.4, "ready": 180.0},
        )
    )
    assert (told["MEMORY"], told["CPU"], told["START"]) == ("20.0 MiB", "1.25 s", "fetch 12 ms, ready 180 ms")
