"""The guide's limits against samples of known counts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.judge.basis import Basis
from hotswap.judge.thresholds import judge
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.metrics import FIXED, Count, Tally, bucket
from hotswap.requests import Limits

MOMENT = datetime(2025, 11, 23, tzinfo=UTC)


def tally(invocations: int = 0, *, errors: int = 0, slow: int = 0, cold: int = 0, seconds: float = 0.01) -> Tally:
    """`slow` of the invocations took 2 s, the others `seconds`."""
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.STATUS] = invocations - errors, errors
    counts[Count.SLOW], counts[Count.COLD] = slow, cold
    counts[FIXED + bucket(seconds)] += invocations - slow
    counts[FIXED + bucket(2.0)] += slow
    return Tally(counts=counts)


def judged(sample: Tally, *, counted_limit: timedelta | None = None, **limits: Any) -> Verdict:
    basis = Basis(tally=sample, limits=Limits(**limits), counted_limit=counted_limit, version=6, step=2, at=MOMENT)
    return judge(basis)


@pytest.mark.parametrize(
    ("sample", "limits", "rule", "text"),
    [
        (
            tally(250, errors=51),
            {},
            "rollbackOnErrorRate",
            "error rate 20.4 % (51 of 250) is over the limit of 5 %",
        ),
        (
            tally(100, errors=20),
            {"rollback_on_error_rate": None, "rollback_on_success_rate": 0.95},
            "rollbackOnSuccessRate",
            "success rate 80 % (80 of 100) is under the limit of 95 %",
        ),
        (
            tally(100, slow=50),
            {"rollback_on_latency_p99": 1000},
            "rollbackOnLatencyP99",
            "p99 latency 1961 ms of 100 invocations is over the limit of 1000 ms",
        ),
    ],
)
def test_a_breach_names_the_limit_and_the_counts(sample: Tally, limits: dict[str, Any], rule: str, text: str) -> None:
    verdict = judged(sample, **limits)
    assert (verdict.outcome, verdict.rule, verdict.text) == (Outcome.FAIL, rule, text)
    assert (verdict.invocations, verdict.errors) == (sample.invocations, sample.errors)


@pytest.mark.parametrize(("errors", "outcome"), [(5, Outcome.PASS), (6, Outcome.FAIL)])
def test_a_rate_at_its_limit_passes_and_one_over_it_fails(errors: int, outcome: Outcome) -> None:
    assert judged(tally(100, errors=errors)).outcome is outcome


@pytest.mark.parametrize(("slow", "outcome"), [(1, Outcome.PASS), (2, Outcome.FAIL)])
def test_the_p99_is_exact_where_the_routers_counted_against_the_very_limit(slow: int, outcome: Outcome) -> None:
    verdict = judged(tally(100, slow=slow), counted_limit=timedelta(seconds=1), rollback_on_latency_p99=1000)
    assert verdict.outcome is outcome


def test_a_p99_past_the_last_bucket_fails_and_can_be_told() -> None:
    verdict = judged(tally(100, seconds=100), rollback_on_latency_p99=1000)
    assert (verdict.outcome, verdict.value) == (Outcome.FAIL, None)
    assert "over 60 s" in verdict.text


def test_too_few_invocations_tell_nothing_however_bad_they_are() -> None:
    verdict = judged(tally(3, errors=3))
    assert (verdict.outcome, verdict.rule) == (Outcome.INSUFFICIENT, "minInvocations")
    assert verdict.text == "3 invocations in this phase, 20 are needed to judge"


def test_cold_starts_warn_and_do_not_fail() -> None:
    verdict = judged(tally(100, cold=51))
    assert verdict.outcome is Outcome.PASS
    assert verdict.warnings == ["cold start rate 51 % (51 of 100) is over 50 %"]


def test_a_caller_error_is_no_error_of_the_version() -> None:
    counts = Tally.zero().counts
    counts[Count.CLIENT_ERROR] = 100
    assert judged(Tally(counts=counts)).outcome is Outcome.PASS


def test_limits_that_are_left_out_are_not_judged() -> None:
    assert judged(tally(100, errors=100, slow=50), rollback_on_error_rate=None).outcome is Outcome.PASS


@given(invocations=st.integers(0, 1000), errors=st.integers(0, 1000), limit=st.floats(0, 1))
def test_a_verdict_is_one_of_three_by_the_counts_alone(invocations: int, errors: int, limit: float) -> None:
    errors = min(errors, invocations)
    verdict = judged(tally(invocations, errors=errors), rollback_on_error_rate=limit)
    if invocations < 20:
        assert verdict.outcome is Outcome.INSUFFICIENT
    else:
        assert (verdict.outcome is Outcome.FAIL) == (errors / invocations > limit)
