"""ABTesting: users stay with their version, the test ends with a comparison, and a person names the winner."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from controller import strategies
from controller.decision import Uncounted
from controller.steps import present
from controller.turning import GRACE
from hotswap import requests
from hotswap.deployment import AwaitPromotion, Bake, Deployment, Shift, Status, Verb
from hotswap.errors import Invalid, Refused
from hotswap.metric import Direction, Metric, Statistic
from hotswap.model import Sticky
from hotswap.usage import Reported
from hotswap.users import GROUPS
from tests.controller_walk import BAD, BEGIN, GOOD, World, before, deployment, version, world
from tests.crowd import crowd

GUIDE = b"""{
  "functionName": "f", "version": 2, "strategy": "ABTesting",
  "config": {"versionA": 1, "versionB": 2, "trafficSplit": {"1": 50, "2": 50}, "testDuration": "PT24H",
             "manualPromotion": true,
             "metricsToCompare": ["responseTime", "errorRate", "conversionRate", "userEngagement"]}
}"""


def request(**config: object) -> requests.ABTesting:
    return requests.ABTesting(
        function_name="f",
        version=6,
        config=requests.ABTestingConfig(**config),  # type: ignore[arg-type] # each test names its own fields
    )


def awaiting(w: World) -> Deployment:
    while w.deployment.comparison is None:
        w.turn()
    return w.deployment


def test_the_guides_request_waits_for_its_winner_after_a_day() -> None:
    w = World(deployment(requests.parse(GUIDE), stable={1: 100}), before({1: 100}))
    found = awaiting(w)
    assert found.status is Status.AWAITING_PROMOTION
    assert w.weights == [{1: 50, 2: 50}]
    assert w.now - BEGIN == timedelta(hours=24)
    assert found.comparison
    assert found.comparison.not_measured == ["conversionRate", "userEngagement"]
    w.ask(Verb.PROMOTE, winner=2)
    assert w.play() is Status.SUCCEEDED
    assert w.weights[-1] == {2: 100}


def test_a_person_is_called_for_only_with_the_comparison_at_hand() -> None:
    w = world(request())
    while not isinstance(present(w.deployment), AwaitPromotion):
        w.turn()
    before = w.deployment
    w.turn()
    assert (before.status, before.comparison) == (Status.RUNNING, None)
    assert w.deployment.status is Status.AWAITING_PROMOTION
    assert w.deployment.comparison


def test_without_counts_a_person_is_called_for_all_the_same_and_has_the_comparison_when_they_are_there() -> None:
    w = world(request())
    while not isinstance(present(w.deployment), AwaitPromotion):
        w.turn()
    w.counted = Uncounted("router r1 does not answer")
    while w.deployment.status is Status.RUNNING:
        w.turn()
    assert w.now - w.deployment.progress.entered == GRACE
    assert w.deployment.comparison is None
    w.counted = GOOD
    assert awaiting(w).status is Status.AWAITING_PROMOTION


def test_a_winner_that_is_promoted_without_a_person_calls_for_none() -> None:
    w = world(request(manual_promotion=False, rollback_on_error_rate=None))
    w.play_until(Bake)
    w.usages = {5: crowd(20_000, errors=2_000), 6: crowd(20_000, errors=200)}
    assert awaiting(w).status is Status.RUNNING
    assert w.play() is Status.SUCCEEDED


@pytest.mark.parametrize("winner", [5, 6])
def test_either_version_may_win(winner: int) -> None:
    w = world(request())
    awaiting(w)
    w.ask(Verb.PROMOTE, winner=winner)
    assert w.play() is Status.SUCCEEDED
    assert w.weights[-1] == {winner: 100}


def test_a_winner_may_be_named_before_the_test_is_over() -> None:
    w = world(request())
    w.play_until(Bake)
    w.ask(Verb.PROMOTE, winner=6)
    assert w.play() is Status.SUCCEEDED
    assert w.now == BEGIN


def test_a_test_that_nobody_decides_goes_back_in_the_end() -> None:
    w = world(request(promotion_limit=timedelta(days=1)))
    assert w.play() is Status.ROLLED_BACK
    assert w.weights[-1] == {5: 100}
    assert w.deployment.reason == "nobody named a winner within 24 h"


def test_a_challenger_that_fails_ends_the_test_while_it_waits_too() -> None:
    w = world(request())
    awaiting(w)
    w.counted = BAD
    assert w.play() is Status.ROLLED_BACK
    assert w.weights[-1] == {5: 100}


def test_without_manual_promotion_a_clear_winner_is_promoted() -> None:
    w = world(request(manual_promotion=False, rollback_on_error_rate=None))
    w.play_until(Bake)
    w.usages = {5: crowd(20_000, errors=2_000), 6: crowd(20_000, errors=200)}
    assert w.play() is Status.SUCCEEDED
    assert w.weights[-1] == {6: 100}


def test_without_manual_promotion_a_tie_still_waits_for_a_person() -> None:
    w = world(request(manual_promotion=False))
    awaiting(w)
    assert w.deployment.comparison
    assert w.deployment.comparison.winner is None
    assert w.deployment.status is Status.AWAITING_PROMOTION


def test_metrics_of_ones_own_are_declared_and_what_is_not_is_refused() -> None:
    declared = {"revenue": Metric(kind=Statistic.MEAN, direction=Direction.HIGHER)}
    plan = deployment(request(metrics_to_compare=["errorRate", "revenue"], metrics=declared), stable={5: 100}).plan
    (step,) = (step for step in plan if isinstance(step, AwaitPromotion))
    assert (step.metrics, step.declared) == (["errorRate", "revenue"], declared)
    w = World(deployment(request(metrics_to_compare=["revenue"], metrics=declared), stable={5: 100}), before({5: 100}))
    revenue = Reported(count=GROUPS, sum=3.0 * GROUPS, sums=dict.fromkeys(range(GROUPS), 3.0))
    w.usages = dict.fromkeys((5, 6), replace(crowd(5_000), reported={"revenue": revenue}))
    found = awaiting(w).comparison
    assert found
    assert (found.metrics[0].metric, found.unit, found.units) == ("revenue", "user", {5: 5000, 6: 5000})
    assert found.metrics[0].values == pytest.approx({5: 384 / 5000, 6: 384 / 5000}, rel=0.02)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"metrics_to_compare": ["revenue"]}, 'config.metricsToCompare names "revenue", which is none of'),
        (
            {"primary_metrics": ["conversionRate"]},
            'config.primaryMetrics names "conversionRate", which is not compared',
        ),
        ({"metrics": {"p9": Metric(kind=Statistic.QUANTILE, direction=Direction.LOWER)}}, 'declares "p9" as quantile'),
        (
            {"metrics": {"m": Metric(kind=Statistic.MEAN, direction=Direction.LOWER, quantile=0.5)}},
            'declares "m" as mean with quantile 0.5',
        ),
        (
            {"metrics": {"m": Metric(kind=Statistic.MEAN, direction=Direction.LOWER, per="visits")}},
            'declares "m" as mean with per',
        ),
        (
            {"metrics": {"m": Metric(kind=Statistic.MEAN, direction=Direction.LOWER, of="responseTime")}},
            'declares "m" as mean of responseTime',
        ),
    ],
)
def test_metrics_that_cannot_be_compared_are_refused(config: dict[str, object], text: str) -> None:
    with pytest.raises(Invalid) as refused:
        deployment(request(**config), stable={5: 100})
    assert text in str(refused.value)


def test_users_are_tied_to_versions_for_the_test_alone() -> None:
    plan = deployment(request(), stable={5: 100})
    shift = next(step for step in plan.plan if isinstance(step, Shift))
    assert shift.sticky == Sticky(by="client")
    back = next(step for step in plan.way_back if isinstance(step, Shift))
    assert back.sticky is None


def test_how_an_alias_ties_its_users_is_kept() -> None:
    by_cookie = Sticky(by="cookie:user")
    alias = before({5: 100})
    assert alias
    state = strategies.State(replace(alias, sticky=by_cookie), version())
    plan = strategies.plan(request(), state)
    assert {step.sticky for step in (*plan.steps, *plan.way_back) if isinstance(step, Shift)} == {by_cookie}
    assert [step.before for step in plan.steps if isinstance(step, AwaitPromotion)] == [by_cookie]


def test_more_than_two_versions_share_the_traffic() -> None:
    w = world(request(traffic_split={4: 20, 5: 40, 6: 40}))
    awaiting(w)
    assert w.weights == [{4: 20, 5: 40, 6: 40}]
    w.ask(Verb.PROMOTE, winner=4)
    assert w.play() is Status.SUCCEEDED
    assert w.weights[-1] == {4: 100}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"traffic_split": {5: 50, 6: 40}}, "add up to 90"),
        ({"traffic_split": {5: 50, 4: 50}}, "no traffic to versionB 6"),
        ({"version_a": 6}, "versionA and config.versionB are both 6"),
        ({"sticky": "header:"}, "config.sticky"),
        ({"sticky": "mood"}, "config.sticky"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        deployment(request(**config), stable={5: 100})


def test_a_test_against_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="no version to test version 6 against"):
        deployment(request(), stable=None)
