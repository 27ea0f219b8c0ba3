"""A harm budget: what it lets a version have, and that it is kept whatever the version does."""

from datetime import UTC, datetime, timedelta
from math import sqrt
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from hotswap.judge.basis import SAMPLE_EVERY, Basis, Epoch, Exposure
from hotswap.judge.budget import HIGHEST, SETTLES, complete, left, rate, unanswered, upper_bound, weigh
from hotswap.judge.guard import FALSE_PASSES
from hotswap.judge.verdict import Outcome
from hotswap.metrics import Count, Tally
from hotswap.requests import Limits
from tests.budget_simulation import HEALTHY, UNGUARDED, VERSIONS, Version, costs

BUDGET = 50
AT = datetime(2025, 11, 23, tzinfo=UTC)


def basis(good: int = 0, bad: int = 0, **said: Any) -> Basis:
    """At 10 % of 10 requests a second for a while, if nothing else is said."""
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.STATUS] = good, bad
    told: dict[str, Any] = {
        "budget": BUDGET,
        "weight": 10,
        "rate": 10.0,
        "stood": timedelta(seconds=30),
        "age": timedelta(),
        "answered": good + bad,
        "pending": 0,
        "latency": timedelta(),
        **said,
    }
    return Basis(version=2, step=1, at=AT, tally=Tally(counts=counts), limits=Limits(), exposure=Exposure(**told))


def weight(of: Basis) -> float | None:
    found = weigh(of)
    return None if found is None else found.value


def test_the_first_weight_is_small_however_little_there_is_to_do() -> None:
    assert weight(basis(weight=0, rate=0.01)) == 10


def test_a_version_of_which_nothing_is_known_gets_what_may_fail_whole_for_a_while() -> None:
    assert weight(basis(weight=0, rate=100.0)) == 1


def test_a_weight_is_raised_by_what_is_known_of_the_version() -> None:
    assert weight(basis(good=2)) is None
    assert weight(basis(good=300)) == 30
    assert weight(basis(good=300, answered=0)) is None
    assert weight(basis(good=300, stood=SAMPLE_EVERY / 2)) is None


def test_a_weight_falls_as_the_budget_does() -> None:
    told = weight(basis(good=500, bad=35, weight=30))
    assert told is not None
    assert 1 <= told < 30


def test_what_is_not_answered_may_fail() -> None:
    assert weight(basis(good=500, weight=30)) == HIGHEST
    assert weight(basis(good=500, weight=30, pending=35)) in range(1, 30)
    assert left(basis(bad=10, pending=15)) == 25


def test_a_budget_that_is_spent_takes_the_version_back_and_says_why() -> None:
    found = weigh(basis(good=10, bad=49))
    assert found
    assert (found.outcome, found.rule, found.limit) == (Outcome.FAIL, "harmBudget", BUDGET)
    assert found.text == "49 of 59 failed, a harm budget of 50: not even 1 % of 10/s can be borne"


def test_a_budget_that_the_rate_makes_too_small_is_told_before_any_traffic() -> None:
    found = weigh(basis(weight=0, rate=5000.0))
    assert found
    assert found.outcome is Outcome.INSUFFICIENT
    assert "not even 1 % of 5e+03/s can be borne" in found.text


def test_a_weight_that_may_not_be_changed_is_borne_or_the_version_goes() -> None:
    shrinking = basis(good=500, bad=35, weight=30)
    assert shrinking.exposure
    standing = replace(shrinking, exposure=replace(shrinking.exposure, stands=True))
    found = weigh(standing)
    assert found
    assert found.outcome is Outcome.FAIL
    assert "its weight stands at 30 %" in found.text
    assert weigh(basis(good=500, weight=10, stands=True)) is None


def test_all_of_the_traffic_follows_where_its_failing_can_be_borne() -> None:
    assert complete(basis(good=300, weight=50, rate=2.0)).outcome is Outcome.PASS


def test_all_of_a_busy_functions_traffic_follows_a_version_that_is_known_to_fail_rarely() -> None:
    assert complete(basis(good=30, rate=100.0)).outcome is Outcome.INSUFFICIENT
    assert complete(basis(good=3000, bad=3, rate=100.0)).outcome is Outcome.PASS
    assert complete(basis(good=3000, bad=90, rate=100.0)).outcome is Outcome.INSUFFICIENT
    assert "begun to answer late" in complete(basis(good=3000, rate=100.0, pending=9)).text


def test_all_of_a_busy_functions_traffic_does_not_follow_a_version_that_has_just_begun_to_fail() -> None:
    for failed, lately, outcome in ((6, 150, Outcome.INSUFFICIENT), (1, 150, Outcome.PASS), (6, 3006, Outcome.PASS)):
        told = complete(basis(good=3000, bad=6, rate=100.0, lately=lately, lately_failed=failed))
        assert told.outcome is outcome
        assert ("begun to fail" in told.text) is (outcome is Outcome.INSUFFICIENT)


def test_the_limits_are_judged_before_all_of_the_traffic_follows() -> None:
    assert complete(basis(good=100, bad=10)).outcome is Outcome.FAIL
    assert complete(basis(good=5)).rule == "minInvocations"


def test_the_upper_bound_is_one_at_first_and_the_limit_where_the_guard_would_pass() -> None:
    assert upper_bound(basis()) == 1
    assert upper_bound(basis(good=377)) == pytest.approx(0.01, rel=0.01)
    assert upper_bound(basis(good=1, bad=9)) > 0.9


@given(st.integers(0, 60), st.integers(0, 500), st.floats(0, 500), st.integers(0, 50), st.integers(0, 60))
def test_what_may_come_always_fits_into_what_is_left(bad: int, good: int, rate: float, had: int, pending: int) -> None:
    seen = basis(good=good, bad=bad, rate=rate, weight=had, pending=pending)
    told = weigh(seen)
    given_to_it = had if told is None else int(told.value or 0)
    assume(told is None or told.outcome is Outcome.PASS)
    reaction = SAMPLE_EVERY + SETTLES
    coming = rate * (had * SETTLES.total_seconds() + given_to_it * reaction.total_seconds()) / 100
    if told is None or given_to_it > 1:
        assert bad + pending + coming <= BUDGET
    assert 0 <= given_to_it <= HIGHEST


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.001, 0.999))
def test_the_upper_bound_is_over_what_was_seen(bad: int, good: int, share: float) -> None:
    bound = upper_bound(basis(good=good, bad=bad))
    assert bad / max(1, good + bad) <= bound <= 1


def test_the_upper_bound_holds_at_all_times_at_once() -> None:
    random, broken, runs = Random(11), 0, 60
    for _ in range(runs):
        good = bad = 0
        for _ in range(40):
            drawn = sum(random.random() < 0.1 for _ in range(4))
            good, bad = good + 4 - drawn, bad + drawn
            if upper_bound(basis(good=good, bad=bad)) < 0.1:
                broken += 1
                break
    assert broken / runs <= FALSE_PASSES + 4 * sqrt(FALSE_PASSES * (1 - FALSE_PASSES) / runs)


def test_what_a_version_was_given_is_told_by_the_version_beside_it() -> None:
    levels = [
        (10, Epoch(invocations=90, errors=0, beside=900, beside_errors=0)),
        (50, Epoch(invocations=20, errors=0, beside=40, beside_errors=0)),
    ]
    assert unanswered(levels) == 10 + 20
    assert unanswered([(10, Epoch(invocations=120, errors=0, beside=900, beside_errors=0))]) == 0


def test_the_rate_is_that_of_late_where_it_has_surely_grown() -> None:
    assert rate(40, 2, whole=25) == 25
    assert rate(400, 2, whole=25) == pytest.approx(180)
    assert rate(3, 2, whole=None) == 2
    assert rate(0, 0, whole=None) == 0


def kept(version: Version, *, requests: float, limits: Limits, runs: int) -> float:
    found = costs(version, budget=BUDGET, rate=requests, runs=runs, random=Random(5), limits=limits)
    return sum(cost.failed <= BUDGET for cost in found) / runs


@pytest.mark.parametrize("limits", [Limits(), UNGUARDED], ids=["guarded", "unguarded"])
@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS.keys())
def test_the_budget_is_kept_by_versions_that_are_bad_in_every_way(version: Version, limits: Limits) -> None:
    assert kept(version, requests=20, limits=limits, runs=4) == 1


@pytest.mark.parametrize("requests", [2.0, 20.0, 100.0])
def test_a_healthy_version_is_rolled_out(requests: float) -> None:
    found = costs(HEALTHY, budget=BUDGET, rate=requests, runs=8, random=Random(5), limits=Limits())
    assert sum(cost.rolled_out for cost in found) >= 7
