"""The guard against samples of known counts, and its evidence against the formulas written down plainly."""

from datetime import UTC, datetime, timedelta
from math import exp, inf, log
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special

from hotswap.judge.basis import Basis, Epoch
from hotswap.judge.guard import (
    RATIOS,
    evidence_against_stable,
    evidence_over,
    evidence_within,
    pass_needs,
    watch,
)
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.metrics import FIXED, Count, Tally, bucket
from hotswap.requests import Limits

MOMENT = datetime(2025, 11, 23, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def tally(invocations: int, *, errors: int = 0, slow: int = 0) -> Tally:
    """`slow` of the invocations took 2 s, the others 10 ms."""
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.STATUS], counts[Count.SLOW] = invocations - errors, errors, slow
    counts[FIXED + bucket(0.01)] += invocations - slow
    counts[FIXED + bucket(2.0)] += slow
    return Tally(counts=counts)


def watched(sample: Tally, *, counted_limit: timedelta | None = None, **limits: Any) -> Verdict | None:
    basis = Basis(tally=sample, limits=Limits(**limits), counted_limit=counted_limit, version=6, step=2, at=MOMENT)
    return watch(basis)


@pytest.mark.parametrize(
    ("sample", "limits", "rule", "text"),
    [
        (
            tally(20, errors=7),
            {"rollback_on_latency_p99": 1000, "rollback_on_success_rate": 0.95},
            "guard:rollbackOnErrorRate",
            "error rate 35 % (7 of 20) is over the limit of 5 %: evidence 1219 to 1, 300 to 1 decides",
        ),
        (
            tally(250, errors=51),
            {"rollback_on_error_rate": None, "rollback_on_success_rate": 0.95},
            "guard:rollbackOnSuccessRate",
            "success rate 79.6 % (199 of 250) is under the limit of 95 %: "
            "evidence over a million to 1, 100 to 1 decides",
        ),
        (
            tally(40, slow=5),
            {"rollback_on_latency_p99": 1000, "counted_limit": SECOND},
            "guard:rollbackOnLatencyP99",
            "12.5 % (5 of 40) took longer than the p99 limit of 1000 ms, 1 % may: evidence 540 to 1, 200 to 1 decides",
        ),
    ],
)
def test_a_version_over_its_limit_fails_with_the_evidence(
    sample: Tally, limits: dict[str, Any], rule: str, text: str
) -> None:
    verdict = watched(sample, **limits)
    assert verdict is not None
    assert (verdict.outcome, verdict.rule, verdict.text) == (Outcome.FAIL, rule, text)
    assert (verdict.step, verdict.at, verdict.invocations, verdict.errors) == (
        2,
        MOMENT,
        sample.invocations,
        sample.errors,
    )


def test_the_figures_are_in_the_unit_of_the_limit() -> None:
    late = watched(tally(40, slow=20), counted_limit=SECOND, rollback_on_latency_p99=1000)
    assert late is not None
    assert late.limit == 1000
    assert late.value == pytest.approx(1961, rel=1e-3)
    wrong = watched(tally(40, errors=20))
    assert wrong is not None
    assert (wrong.limit, wrong.value) == (0.05, 0.5)


@pytest.mark.parametrize("sample", [tally(0), tally(2, errors=2), tally(1000, errors=50), tally(1000)])
def test_no_traffic_too_few_errors_and_a_rate_within_the_limit_are_quiet(sample: Tally) -> None:
    assert watched(sample) is None


def test_where_every_invocation_fails_three_decide() -> None:
    assert watched(tally(2, errors=2)) is None
    assert watched(tally(3, errors=3)) is not None


def test_a_limit_of_nothing_is_broken_by_the_third_error() -> None:
    assert watched(tally(100_000, errors=2), rollback_on_error_rate=0) is None
    verdict = watched(tally(100_000, errors=3), rollback_on_error_rate=0)
    assert verdict is not None
    assert verdict.text.endswith("is over the limit of 0 %: evidence over a million to 1, 100 to 1 decides")


@pytest.mark.parametrize("limits", [{"rollback_on_error_rate": 1}, {"rollback_on_error_rate": None}])
@pytest.mark.parametrize("more", [{}, {"rollback_on_success_rate": 0}])
def test_a_limit_that_nothing_exceeds_and_one_that_is_left_out_are_quiet(
    limits: dict[str, Any], more: dict[str, Any]
) -> None:
    assert watched(tally(1000, errors=1000), **limits, **more) is None


def test_latency_is_guarded_only_where_the_routers_count_against_the_very_limit() -> None:
    late = tally(100, slow=100)
    assert watched(late, counted_limit=None, rollback_on_latency_p99=1000) is None
    assert watched(late, counted_limit=2 * SECOND, rollback_on_latency_p99=1000) is None
    assert watched(late, counted_limit=SECOND, rollback_on_latency_p99=1000) is not None


def test_each_limit_more_asks_for_more_evidence() -> None:
    sample = tally(20, errors=6)  # 133 to 1
    assert watched(sample) is not None
    assert watched(sample, rollback_on_success_rate=0.5) is None


def test_counts_that_were_read_while_written_do_no_harm() -> None:
    counts = list(tally(100).counts)
    counts[Count.SLOW] = 101
    assert watched(Tally(counts=counts), counted_limit=SECOND, rollback_on_latency_p99=1000) is not None


@given(invocations=st.integers(0, 3000), errors=st.integers(0, 3000), limit=st.floats(0, 1))
def test_the_glance_that_spares_the_evidence_changes_no_verdict(invocations: int, errors: int, limit: float) -> None:
    errors = min(errors, invocations)
    decided = errors >= 3 and evidence_over(errors, invocations, limit) >= log(100)
    assert (watched(tally(invocations, errors=errors), rollback_on_error_rate=limit) is not None) == decided


@given(n=st.integers(0, 400), k=st.integers(0, 400), tau=st.floats(0.001, 0.999))
def test_the_evidence_is_the_formula(n: int, k: int, tau: float) -> None:
    k = min(k, n)
    a, b = k + 0.5, n - k + 0.5
    base = special.betaln(a, b) - special.betaln(0.5, 0.5) - k * log(tau) - (n - k) * log(1 - tau)
    above, below = special.betaincc(a, b, tau), special.betainc(a, b, tau)
    if above > 1e-250:
        over = base + log(above) - log(special.betaincc(0.5, 0.5, tau))
        assert evidence_over(k, n, tau) == pytest.approx(over, rel=1e-9, abs=1e-9)
    if below > 1e-250:
        within = base + log(below) - log(special.betainc(0.5, 0.5, tau))
        assert evidence_within(k, n, tau) == pytest.approx(within, rel=1e-9, abs=1e-9)


@given(n=st.integers(0, 60), tau=st.floats(1e-6, 1 - 1e-6))
def test_at_the_limit_the_evidence_is_1_to_1_on_average(n: int, tau: float) -> None:
    """What makes it an e-process: no betting on the counts pays at the limit."""
    for evidence in (evidence_over, evidence_within):
        chances = (
            (k, special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)) for k in range(n + 1)
        )
        mean = sum(exp(c + k * log(tau) + (n - k) * log(1 - tau) + evidence(k, n, tau)) for k, c in chances)
        assert mean == pytest.approx(1, rel=1e-8)


epochs = st.lists(
    st.builds(
        Epoch,
        invocations=st.integers(1, 10_000),
        errors=st.integers(0, 40),
        beside=st.integers(1, 10_000),
        beside_errors=st.integers(0, 40),
    ),
    max_size=4,
)


@given(epochs=epochs, rho=st.floats(0.5, 5))
def test_the_evidence_against_the_stable_version_is_the_formula(epochs: list[Epoch], rho: float) -> None:
    def theta(weight: float, ratio: float) -> float:
        return weight * ratio / (weight * ratio + 1 - weight)

    total = 0.0
    for r in RATIOS:
        product = 1.0
        for one in epochs:
            allowed, worse = theta(one.share, rho), theta(one.share, rho * r)
            product *= (worse / allowed) ** one.errors * ((1 - worse) / (1 - allowed)) ** one.beside_errors
        total += product / len(RATIOS)
    assume(1e-250 < total < inf)
    assert evidence_against_stable(epochs, rho) == pytest.approx(log(total), rel=1e-7, abs=1e-9)


def epoch(invocations: int, errors: int, beside: int, beside_errors: int) -> Epoch:
    return Epoch(invocations=invocations, errors=errors, beside=beside, beside_errors=beside_errors)


def compared(seen: Epoch, **limits: Any) -> Verdict | None:
    sample = tally(seen.invocations, errors=seen.errors)
    return watch(Basis(tally=sample, limits=Limits(**limits), epochs=[seen], version=6, step=2, at=MOMENT))


def test_a_version_within_its_limit_fails_where_it_is_far_worse_than_the_stable_one() -> None:
    verdict = compared(epoch(1_000, 20, 9_000, 9))
    assert verdict
    assert (verdict.rule, verdict.limit) == ("guard:rollbackOnErrorRatio", 2)
    assert verdict.value == pytest.approx(20)
    assert verdict.text == (
        "error rate 2 % (20 of 1000) is over 2 times that of the stable version beside it, 0.1 % (9 of 9000): "
        "evidence over a million to 1, 200 to 1 decides"
    )
    assert compared(epoch(1_000, 20, 9_000, 9), rollback_on_error_ratio=None) is None
    assert compared(epoch(1_000, 20, 9_000, 9), rollback_on_error_ratio=30) is None


@pytest.mark.parametrize("seen", [epoch(1_000, 2, 9_000, 0), epoch(1_000, 10, 9_000, 60), epoch(1_000, 40, 0, 0)])
def test_too_few_errors_a_ratio_that_is_allowed_and_no_version_beside_it_are_quiet(seen: Epoch) -> None:
    assert compared(seen) is None


def test_a_limit_that_both_versions_break_alike_is_a_shared_incident() -> None:
    both = compared(epoch(1_000, 300, 9_000, 2_700))
    assert both
    assert (both.rule, both.shared) == ("guard:rollbackOnErrorRate", True)
    assert both.text.endswith("; the stable version beside it fails likewise: this is a shared incident")
    one = compared(epoch(1_000, 300, 9_000, 90))
    assert one
    assert not one.shared


def test_a_stable_version_beside_it_takes_its_share_of_the_false_alarms() -> None:
    verdict = compared(epoch(100, 100, 900, 0))
    assert verdict
    assert "200 to 1 decides" in verdict.text


def test_beside_the_stable_version_a_shared_outage_is_no_evidence_and_a_lone_one_is() -> None:
    assert evidence_against_stable([epoch(1_000, 100, 9_000, 900)], 1) < 0
    assert evidence_against_stable([epoch(100, 3, 900, 0)], 1) > log(100)


def test_an_epoch_in_which_one_version_had_all_the_traffic_says_nothing() -> None:
    shared = epoch(100, 4, 900, 1)
    alone = [epoch(800, 500, 0, 0), epoch(0, 0, 800, 500)]
    assert evidence_against_stable([shared, *alone], 1) == evidence_against_stable([shared], 1)
    assert evidence_against_stable([], 1) == evidence_against_stable(alone, 1) == pytest.approx(0)


def test_counts_of_millions_neither_overflow_nor_underflow() -> None:
    assert evidence_against_stable([epoch(9_000_000, 5_000_000, 9_000_000, 1_000_000)], 1) > 1e5
    assert evidence_against_stable([epoch(9_000_000, 1_000_000, 9_000_000, 5_000_000)], 1) < -1e5
    assert evidence_over(5_000_000, 10_000_000, 0.01) > 1e6
    assert evidence_over(10, 10_000_000, 0.5) == pytest.approx(-16.57, abs=0.01)


@pytest.mark.parametrize(("tau", "needed"), [(0.01, 377), (0.02, 188), (0.05, 74), (0.1, 36), (1, 1), (0, None)])
def test_what_a_pass_needs(tau: float, needed: int | None) -> None:
    assert pass_needs(tau) == needed
