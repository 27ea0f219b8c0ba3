"""The interval of a difference of quantiles: the formula, what it misses, and what likeness of values does to it."""

from bisect import bisect_left
from itertools import pairwise
from math import inf, log, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.comparison import UNBOUNDED
from hotswap.judge.quantiles import Spread, difference, effective, p_value, reach

ENDS = [10 * 1.09**i for i in range(60)]
BOUNDS = [(0.0, ENDS[0]), *pairwise(ENDS), (ENDS[-1], float("inf"))]


def spread(values: list[float], *, worth: float = 1.0) -> Spread:
    counts = [0] * len(BOUNDS)
    for value in values:
        counts[bisect_left(ENDS, value)] += 1
    return Spread(counts, BOUNDS, len(values) * worth)


def drawn(random: Random, count: int, *, mean: float = 100.0) -> list[float]:
    return [random.expovariate(1 / mean) for _ in range(count)]


@given(q=st.floats(0.01, 0.99), units=st.floats(2, 1e7), alpha=st.floats(1e-6, 1))
def test_how_far_a_share_strays_is_the_formula(q: float, units: float, alpha: float) -> None:
    unit = (1.4 * log(log(2.1 * units)) + log(10 / alpha)) / units
    assert reach(q, units, alpha=alpha) == pytest.approx(1.5 * sqrt(q * (1 - q) * unit) + 0.8 * unit)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_the_true_difference_is_never_missed_however_often_one_looks(q: float) -> None:
    """100 tests of two equal versions with 20 looks each; 5 may miss, and the formula is wide."""
    random, missed = Random(4), 0
    for _ in range(100):
        one, two = drawn(random, 4_000), drawn(random, 4_000)
        looks = (difference(spread(one[:at]), spread(two[:at]), q) for at in range(200, 4_001, 200))
        missed += any(low > 0 or high < 0 for low, high in looks)
    assert missed <= 5


def test_a_difference_that_is_there_is_found() -> None:
    random = Random(5)
    base, other = spread(drawn(random, 20_000)), spread(drawn(random, 20_000, mean=70.0))
    low, high = difference(base, other, 0.9)
    assert low < -69 < high < 0
    assert p_value(base, other, 0.9) < 0.001


def test_the_interval_excludes_0_exactly_where_p_is_under_5_percent() -> None:
    random = Random(6)
    for mean in range(60, 100, 2):
        base, other = spread(drawn(random, 3_000)), spread(drawn(random, 3_000, mean=mean))
        low, high = difference(base, other, 0.5)
        assert (low > 0 or high < 0) == (p_value(base, other, 0.5) <= 0.05)


def test_with_few_values_a_high_quantile_has_no_upper_end() -> None:
    few = spread(drawn(Random(7), 30))
    assert few.interval(0.99, alpha=0.05)[1] == inf
    assert difference(few, few, 0.99) == (-UNBOUNDED, UNBOUNDED)
    assert p_value(few, few, 0.99) == 1.0


def test_values_that_are_alike_are_worth_as_many_as_would_tell_as_much() -> None:
    values = drawn(Random(8), 10_000)
    told = spread(values)
    alone = 100 / sqrt(len(values))
    assert effective(told.counts, BOUNDS, error=alone) == pytest.approx(10_000, rel=0.1)
    assert effective(told.counts, BOUNDS, error=alone * 5) == pytest.approx(400, rel=0.1)
    assert effective(told.counts, BOUNDS, error=0.0) == 10_000
