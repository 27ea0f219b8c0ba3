"""What is counted of invocations: buckets, tallies, rates and quantiles."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.metrics import BOUNDARIES, BUCKETS, ERRORS, FIXED, OUTCOMES, ROW, Applied, Count, Counters, Tally, bucket
from hotswap.model import decode, encode

ERROR_OF_A_QUANTILE = 1.0443
"""What is told over what is true, or the other way round."""

DURATIONS = st.floats(0.0005, 60)


def tally(durations: list[float] | None = None, **counts: int) -> Tally:
    row = [0] * ROW
    for name, count in counts.items():
        row[Count[name]] = count
    for seconds in durations or []:
        row[FIXED + bucket(seconds)] += 1
    return Tally(counts=row)


def test_buckets_reach_from_half_a_millisecond_past_a_minute() -> None:
    assert BOUNDARIES[0] == 0.0005
    assert BOUNDARIES[-2] < 60 <= BOUNDARIES[-1]
    assert len(BOUNDARIES) == BUCKETS - 1


@given(st.floats(0, 1e4))
def test_a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed(seconds: float) -> None:
    index = bucket(seconds)
    assert index == BUCKETS - 1 or seconds <= BOUNDARIES[index]
    assert index == 0 or seconds > BOUNDARIES[index - 1]


def test_the_outcomes_are_counted_apart() -> None:
    assert len(set(OUTCOMES)) == 6
    assert Count.CLIENT_ERROR not in ERRORS
    assert Count.PLATFORM not in OUTCOMES


def test_a_clients_error_is_an_invocation_but_no_error_of_the_version() -> None:
    counted = tally(OK=90, CLIENT_ERROR=5, STATUS=1, EXCEPTION=1, TIMEOUT=2, DIED=1, PLATFORM=7)
    assert counted.invocations == 100
    assert counted.errors == 5
    assert counted.error_rate == 0.05


def test_of_no_invocations_there_is_no_rate_and_no_quantile() -> None:
    assert Tally.zero().error_rate is None
    assert Tally.zero().quantile(0.99) is None


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_quantile_is_half_a_bucket_from_the_true_one_at_most(durations: list[float], q: float) -> None:
    true = sorted(durations)[math.ceil(q * len(durations)) - 1]
    told = tally(durations).quantile(q)
    assert told is not None
    assert true / ERROR_OF_A_QUANTILE <= told <= true * ERROR_OF_A_QUANTILE


def log_normal(rng: random.Random) -> float:
    return rng.lognormvariate(math.log(0.040), 0.6)


def bimodal(rng: random.Random) -> float:
    """A cache that hits nine times in ten."""
    return rng.gauss(0.003, 0.0004) if rng.random() < 0.9 else rng.gauss(0.450, 0.060)


def heavy_tailed(rng: random.Random) -> float:
    return 0.005 * rng.paretovariate(1.2)


@pytest.mark.parametrize("stream", [log_normal, bimodal, heavy_tailed])
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_the_quantiles_of_a_long_stream_are_within_their_error(
    stream: Callable[[random.Random], float], q: float
) -> None:
    rng = random.Random(20_260)
    durations = [min(60.0, max(0.0005, stream(rng))) for _ in range(50_000)]
    true = sorted(durations)[math.ceil(q * len(durations)) - 1]
    told = tally(durations).quantile(q)
    assert told == pytest.approx(true, rel=0.0443)


def test_what_is_faster_than_the_smallest_bucket_ends_is_told_as_that_end() -> None:
    assert tally([0.0001]).quantile(0.5) == 0.0005


def test_past_the_last_bucket_a_quantile_is_infinite() -> None:
    assert tally([100.0]).quantile(0.5) == math.inf


ROWS = st.lists(st.integers(0, 2**50), min_size=ROW, max_size=ROW)


@given(st.lists(ROWS, max_size=3), ROWS)
def test_what_came_since_and_what_was_before_are_the_total(rows: list[list[int]], more: list[int]) -> None:
    before, after = Tally.total(rows), Tally.total([*rows, more])
    assert after.since(before) == Tally(counts=more)
    assert after[Count.OK] == before[Count.OK] + more[Count.OK]


def test_the_total_of_nothing_is_zero() -> None:
    assert Tally.total([]) == Tally.zero()


def test_rows_of_another_release_are_not_added() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Tally.total([[0] * ROW, [0] * (ROW - 1)])


@given(st.integers(0), st.integers(0))
def test_what_is_applied_comes_back_as_it_was(aliases: int, endpoints: int) -> None:
    applied = Applied(aliases=aliases, endpoints=endpoints)
    assert decode(encode(applied), Applied, where="/applied") == applied


def test_counters_look_as_the_router_tells_them() -> None:
    text = (
        '{"router": "r1", "boot": "b", "rows": [{"function": "fn", "alias": "", "version": 1,'
        ' "aliasRevision": 7, "tally": {"counts": [1, 2]}}]}'
    )
    counters = decode(text, Counters, where="/counters")
    assert counters.rows[0].alias_revision == 7
    assert counters.rows[0].tally[Count.CLIENT_ERROR] == 2
