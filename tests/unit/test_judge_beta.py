"""The incomplete beta function against SciPy, and against exact arithmetic where SciPy gives up."""

from decimal import Decimal, localcontext
from math import comb, inf, log, log1p, sqrt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special

from hotswap.judge.beta import log_beta, log_betainc, log_betaincc, log_density

SMALLEST = 1e-290
"""Below it SciPy's answers lose digits, then underflow."""

counts = st.one_of(st.integers(0, 100), st.integers(0, 10_000_000))
shares = st.one_of(st.floats(1e-6, 1 - 1e-6), st.floats(1e-6, 1e-3))


def near(sample: tuple[int, int], share: float, deviations: float) -> float:
    """A limit some standard deviations from what was seen, where both tails count; else the share itself."""
    k, rest = sample
    rate = (k + 0.5) / (k + rest + 1)
    return min(max(rate + deviations * sqrt(rate / (k + rest + 1)), share * 1e-3 + 1e-6), 1 - 1e-6)


@given(k=counts, rest=counts)
def test_log_beta_is_scipys(k: int, rest: int) -> None:
    assert log_beta(k + 0.5, rest + 0.5) == pytest.approx(special.betaln(k + 0.5, rest + 0.5), rel=1e-9)


@given(k=counts, rest=counts, tau=shares)
@example(k=10, rest=6_657_297, tau=1.8412037915000482e-06)
@example(k=0, rest=0, tau=0.5)
def test_both_tails_are_scipys_anywhere(k: int, rest: int, tau: float) -> None:
    same_tails(k + 0.5, rest + 0.5, tau)


@given(sample=st.tuples(counts, counts), share=shares, deviations=st.floats(-8, 8))
def test_both_tails_are_scipys_near_the_mean(sample: tuple[int, int], share: float, deviations: float) -> None:
    same_tails(sample[0] + 0.5, sample[1] + 0.5, near(sample, share, deviations))


def same_tails(a: float, b: float, x: float) -> None:
    lower, upper = float(special.betainc(a, b, x)), float(special.betaincc(a, b, x))
    for mine, tail, other in ((log_betainc(a, b, x), lower, upper), (log_betaincc(a, b, x), upper, lower)):
        if tail > SMALLEST:
            assert mine == pytest.approx(log(tail) if tail < 0.5 else log1p(-other), rel=1e-9, abs=1e-290)
        else:
            assert mine < log(SMALLEST) + 1


@pytest.mark.parametrize(
    ("a", "b", "x"),
    [(11, 6_657_297, 1.8412037915000482e-06), (60, 9_940, 0.9), (900, 1_100, 0.01), (40, 9_000_000, 3e-5), (3, 5, 0.5)],
)
def test_tails_that_underflow_are_exact_too(a: int, b: int, x: float) -> None:
    assert log_betaincc(a, b, x) == pytest.approx(exact_upper_tail(a, b, x), rel=1e-13)
    assert log_betainc(b, a, 1 - x) == pytest.approx(exact_upper_tail(a, b, 1 - (1 - x)), rel=1e-13)


def exact_upper_tail(a: int, b: int, x: float) -> float:
    """ln P(fewer than `a` of a + b - 1), a sum of as many binomial probabilities."""
    with localcontext(prec=60):
        p, n = Decimal(x), a + b - 1
        return float(sum((comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(a)), Decimal()).ln())


@given(k=counts, rest=counts)
def test_nothing_is_below_0_and_all_below_1(k: int, rest: int) -> None:
    a, b = k + 0.5, rest + 0.5
    assert (log_betainc(a, b, 0), log_betainc(a, b, 1)) == (-inf, 0)
    assert (log_betaincc(a, b, 0), log_betaincc(a, b, 1)) == (0, -inf)


@given(k=st.integers(0, 1000), rest=st.integers(0, 1000), x=shares)
def test_the_density_is_its_definition(k: int, rest: int, x: float) -> None:
    a, b = k + 0.5, rest + 0.5
    expected = a * log(x) + b * log1p(-x) - special.betaln(a, b)
    assert log_density(a, b, x) == pytest.approx(expected, rel=1e-9, abs=1e-9)
