"""What a router tells Prometheus of a version, a controller reads again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap import series
from hotswap.metrics import OUTCOMES, ROW, Tally

COUNTS = st.lists(st.integers(0, 2**40), min_size=ROW, max_size=ROW)


def again(tally: Tally) -> Tally:
    counts = [0] * ROW
    for name, labels, value in series.written(tally):
        position, count = series.read(name, labels, float(repr(value)))
        counts[position] = count
    return Tally(counts=counts)


@given(COUNTS)
def test_what_is_read_is_what_was_counted(counts: list[int]) -> None:
    assert again(Tally(counts=counts)) == Tally(counts=counts)


def test_of_a_version_that_nobody_invoked_outcomes_of_zero_are_told() -> None:
    told = [(labels, value) for name, labels, value in series.written(Tally.zero()) if name == series.INVOCATIONS]
    assert told == [({"outcome": outcome.name.lower()}, 0) for outcome in OUTCOMES]


def test_empty_buckets_are_left_out() -> None:
    assert series.DURATIONS not in {name for name, _, _ in series.written(Tally.zero())}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        (series.INVOCATIONS, {"outcome": "lost"}),
        (series.INVOCATIONS, {}),
        (series.DURATIONS, {"up_to": "0.3"}),
        ("hotswap_revision_other_total", {}),
    ],
)
def test_what_no_router_tells_is_not_read(name: str, labels: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        series.read(name, labels, 1.0)
