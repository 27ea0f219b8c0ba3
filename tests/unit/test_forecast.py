"""What is told of a deployment before it has begun."""

from datetime import timedelta
from typing import Any

import pytest

from controller import strategies
from hotswap import forecast, requests
from hotswap.errors import Invalid
from hotswap.forecast import Finding, Phase, Proposal, Traffic, about, sentence
from hotswap.requests import AnyRequest
from tests.controller_walk import NODES, before, version

BUSY = Traffic(rate=120, stable=0.001)
MINUTES = timedelta(minutes=1)


def phases(request: AnyRequest, *, sticky: bool = False, traffic: Traffic = BUSY) -> list[Phase]:
    plan = strategies.plan(request, strategies.State(before({5: 100}), version(6), NODES))
    return forecast.phases(plan.steps, version=6, stable=5, weights={5: 100}, sticky=sticky, traffic=traffic)


def canary(**config: Any) -> requests.Canary:
    return requests.Canary(function_name="f", version=6, config=requests.CanaryConfig(**config))


def finding(found: list[Finding], rate: float) -> Finding:
    return next(one for one in found if one.rate == rate)


def test_the_phases_of_the_guides_canary_are_its_half_hour() -> None:
    told = [(it.begins / MINUTES, it.lasts / MINUTES, it.weight, it.beside) for it in phases(canary())]
    assert told == [(0, 10, 10, 90), (10, 10, 50, 50), (20, 10, 100, 0)]


@pytest.mark.parametrize(
    ("request_", "weights", "minutes"),
    [
        (requests.BlueGreen(function_name="f", version=6), [0, 100, 100], 75),
        (requests.Rolling(function_name="f", version=6), [25, 50, 75, 100], 20),
        (requests.ABTesting(function_name="f", version=6), [50, 50], 8 * 24 * 60),
        (requests.AllAtOnce(function_name="f", version=6), [], 0),
    ],
)
def test_every_strategy_has_its_phases(request_: AnyRequest, weights: list[int], minutes: float) -> None:
    found = phases(request_)
    assert [phase.weight for phase in found] == weights
    assert sum(phase.lasts / MINUTES for phase in found) == minutes


def test_a_harm_budget_is_foreseen_as_it_would_weigh_a_good_version() -> None:
    found = phases(canary(harm_budget=50), traffic=Traffic(rate=20, stable=0.001))
    weights = [phase.weight for phase in found]
    assert weights == sorted(weights)
    assert 1 <= weights[0] <= 10 < weights[-1] <= 50
    assert sum((phase.lasts for phase in found), timedelta()) == timedelta(minutes=10)


def test_a_harm_budget_that_is_too_small_for_the_rate_is_told_before() -> None:
    with pytest.raises(Invalid, match=r"the budget is too small: .* not even 1 %"):
        phases(canary(harm_budget=50), traffic=Traffic(rate=50_000, stable=0.001))


def test_invocations_and_users_are_those_of_the_share() -> None:
    found = forecast.met(phases(canary(), sticky=True), Traffic(rate=2, stable=0, users=500))
    assert [(it.invocations, it.users) for it in found] == [(120, 50), (600, 250), (1200, 500)]


def test_users_who_are_picked_anew_each_time_meet_the_version_sooner() -> None:
    found = forecast.met(phases(canary()), Traffic(rate=2, stable=0, users=500))
    invocations_each = 2 * 600 / 500
    assert found[0].users == round(500 * (1 - 0.9**invocations_each))


def test_a_test_ties_users_to_versions_whatever_the_alias_did() -> None:
    assert all(phase.sticky for phase in phases(requests.ABTesting(function_name="f", version=6)))


def test_a_worse_version_is_caught_sooner_and_fewer_meet_it() -> None:
    found = forecast.findings(phases(canary()), BUSY)
    times = [one.after for one in found]
    assert None not in times
    assert times == sorted(time for time in times if time)


def test_a_failure_that_is_too_rare_for_the_rate_has_a_phase_proposed_that_would_do() -> None:
    slow = Traffic(rate=2, stable=0.001)
    rare = finding(forecast.findings(phases(canary()), slow), 0.01)
    assert (rare.after, rare.tolerated) == (None, False)
    assert rare.proposed
    better = canary(canary_increments=[rare.proposed.weight], canary_duration=rare.proposed.lasts)
    assert finding(forecast.findings(phases(better), slow), 0.01).chance >= forecast.SURELY


def test_what_the_limits_allow_is_said_to_be_allowed() -> None:
    found = forecast.findings(phases(canary()), Traffic(rate=120, stable=0.02))
    assert finding(found, 0.02).tolerated
    assert sentence(finding(found, 0.02)) == "a version that fails 2 % is within the limits: nothing goes back for it"


def test_what_breaks_a_limit_without_evidence_is_caught_when_a_phase_ends() -> None:
    few = canary(canary_increments=[10], rollback_on_error_ratio=None)
    found = finding(forecast.findings(phases(few), Traffic(rate=2, stable=0.001)), 0.1)
    assert (found.by, found.after) == ("limits", timedelta(minutes=10))
    assert "caught by the limits, at the end of a phase, in about 10 min" in sentence(found)


def test_nothing_is_caught_where_nothing_is_judged() -> None:
    assert forecast.findings(phases(requests.AllAtOnce(function_name="f", version=6)), BUSY) == []


def test_short_phases_take_a_healthy_version_back_by_chance() -> None:
    short = canary(canary_increments=[10], canary_duration=timedelta(minutes=1))
    assert forecast.false_alarm(phases(short), Traffic(rate=5, stable=0.02)) > 0.1
    assert forecast.false_alarm(phases(canary()), BUSY) < 0.001


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            Finding(rate=1, tolerated=False, chance=1, after=timedelta(seconds=2), bad=3, by="guard"),
            "a version that always fails is caught in about 2 s after some 3 bad answers",
        ),
        (
            Finding(rate=0.01, tolerated=False, chance=0.2, proposed=Proposal(weight=25, lasts=timedelta(minutes=15))),
            "a failure of 1 % cannot be proven at this rate: 25 % for PT15M would",
        ),
        (
            Finding(rate=0.01, tolerated=False, chance=0),
            "a failure of 1 % cannot be proven at this rate: nor would half of the traffic for a day",
        ),
        (
            Finding(
                rate=0.02,
                tolerated=False,
                chance=0.7,
                after=timedelta(minutes=9),
                bad=6,
                by="guard",
                proposed=Proposal(weight=10, lasts=timedelta(hours=1)),
            ),
            "a version that fails 2 % is caught in about 9 min after some 6 bad answers, "
            "but only in 70 % of all cases: 10 % for PT1H would",
        ),
    ],
)
def test_findings_are_told_in_words(found: Finding, told: str) -> None:
    assert sentence(found) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, "1 s"), (89, "89 s"), (120, "2 min"), (5340, "89 min"), (7200, "2 h"), (259200, "3 d")]
)
def test_times_are_rounded_as_people_do(seconds: float, told: str) -> None:
    assert about(timedelta(seconds=seconds)) == told
