"""Decisions, by example and by property: every walk ends, weights always add up, and a failed version keeps none."""

from datetime import timedelta

import pytest

from controller import scope, traffic
from controller.decide import decide
from controller.decision import (
    Freeze,
    GoBack,
    Observation,
    Uncounted,
    Wait,
)
from controller.scope import EVERYWHERE, NOWHERE
from controller.turning import GRACE, HELD_LIMIT
from hotswap import requests
from hotswap.deployment import Bake, Retire, Shift, Start, Status, Verb
from hotswap.judge.verdict import Outcome
from tests.controller_walk import BAD, BEGIN, FEW, GOOD, World, before, canary, deployment, tally, world


def test_a_good_canary_takes_the_guides_half_hour() -> None:
    w = world()
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 90, 6: 10}, {5: 50, 6: 50}, {6: 100}]
    assert w.now - BEGIN == timedelta(minutes=30)
    assert [verdict.outcome for verdict in w.deployment.verdicts] == [Outcome.PASS] * 3


def test_an_incident_that_the_stable_version_shares_is_no_fault_of_the_new_one() -> None:
    w = world(counted=BAD, tallies={5: BAD})
    assert w.play() is Status.ROLLED_BACK
    assert w.deployment.reason.endswith("this is a shared incident")
    assert not w.deployment.faulty


def test_a_shared_incident_may_be_left_to_a_person() -> None:
    config = requests.CanaryConfig(on_shared_incident=requests.OnSharedIncident.HOLD)
    w = world(requests.Canary(function_name="f", version=6, config=config), counted=BAD, tallies={5: BAD})
    while w.deployment.status is not Status.HELD:
        assert w.turn()
    assert w.deployment.verdicts[-1].shared
    w.ask(Verb.ROLLBACK)
    assert w.play() is Status.ROLLED_BACK


def test_a_bad_canary_is_back_as_soon_as_the_evidence_decides() -> None:
    w = world(counted=BAD)
    assert w.play() is Status.ROLLED_BACK
    assert w.weights == [{5: 90, 6: 10}, {5: 100}]
    assert w.now == BEGIN
    assert w.deployment.reason.startswith("error rate 20 % (200 of 1000) is over the limit of 5 %: evidence")
    assert w.deployment.faulty


def test_a_canary_that_is_over_a_limit_without_strong_evidence_is_back_when_its_first_phase_ends() -> None:
    w = world(counted=tally(invocations=100, errors=8))
    assert w.play() is Status.ROLLED_BACK
    assert w.weights == [{5: 90, 6: 10}, {5: 100}]
    assert w.now - BEGIN == timedelta(minutes=10)
    assert w.deployment.reason == "error rate 8 % (8 of 100) is over the limit of 5 %"


def test_a_rollback_skips_what_runs_already() -> None:
    w = world(counted=BAD)
    w.play_until(Bake)
    decision = decide(w.deployment, w.observation(), w.now)
    assert isinstance(decision, GoBack)
    assert isinstance(w.deployment.way_back[decision.index], Shift)


def test_a_rollback_starts_the_stable_version_where_it_is_gone() -> None:
    w = world(counted=BAD)
    w.play_until(Bake)
    gone = Observation(
        alias=w.alias,
        alias_revision=w.revision,
        watched=BEGIN,
        serving=frozenset(),
        counted=w.counts(),
    )
    decision = decide(w.deployment, gone, w.now)
    assert isinstance(decision, GoBack)
    assert isinstance(w.deployment.way_back[decision.index], Start)


def test_a_rollback_starts_the_stable_version_where_it_is_being_retired_though_it_still_shows() -> None:
    w = world()
    w.stuck = {Retire}
    w.play_until(Retire)
    w.ask(Verb.ROLLBACK)
    decision = decide(w.deployment, w.observation(), w.now)
    assert isinstance(decision, GoBack)
    assert isinstance(w.deployment.way_back[decision.index], Start)


def test_a_version_that_does_not_start_fails_with_nothing_moved() -> None:
    w = world(broken={Start})
    assert w.play() is Status.FAILED
    assert w.weights == []
    assert w.deployment.reason == "it broke"


def test_a_version_that_is_never_ready_fails_at_its_deadline() -> None:
    w = world(stuck={Start})
    assert w.play() is Status.FAILED
    assert w.deployment.reason == "version 6 was not ready on every node within 6 min"


def test_routers_that_never_take_the_weights_freeze_the_deployment_for_a_person() -> None:
    w = world(stuck={Shift})
    assert w.play() is Status.FROZEN
    assert "`hotswap rollback d-1` or `hotswap abort d-1`" in w.deployment.reason
    assert w.weights == [{5: 90, 6: 10}, {5: 100}]


def test_a_frozen_deployment_tries_its_way_back_again_when_asked() -> None:
    w = world(stuck={Shift})
    w.play()
    w.stuck.clear()
    w.ask(Verb.ROLLBACK)
    assert w.play() is Status.ROLLED_BACK
    assert w.weights[-1] == {5: 100}


def test_a_frozen_deployment_that_is_aborted_touches_nothing() -> None:
    w = world(stuck={Shift})
    w.play()
    before_abort = list(w.weights)
    w.ask(Verb.ABORT)
    assert w.play() is Status.ABORTED
    assert w.weights == before_abort


def test_nodes_that_are_late_to_retire_do_not_fail_a_success() -> None:
    w = world()
    w.play_until(Shift, index=5)
    w.stuck = {type(w.deployment.plan[-1])}
    assert w.play() is Status.SUCCEEDED


def test_a_phase_with_too_little_goes_on_and_then_waits_for_a_person() -> None:
    w = world(counted=FEW)
    w.play_until(Bake)
    while w.deployment.status is Status.RUNNING:
        w.turn()
    assert w.story[-2:] == ["Extend", "Hold"]
    assert w.now - BEGIN == timedelta(minutes=20)
    assert "3 invocations in this phase, 20 are needed to judge" in w.deployment.reason


def test_a_phase_that_gets_enough_after_its_end_goes_on_at_once() -> None:
    w = world(counted=FEW)
    w.play_until(Bake)
    w.now += timedelta(minutes=11)
    w.turn()
    assert w.story[-1] == "Extend"
    w.counted = GOOD
    w.turn()
    assert w.story[-1] == "Advance"


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (requests.OnInsufficientData.ADVANCE, Status.SUCCEEDED),
        (requests.OnInsufficientData.ROLLBACK, Status.ROLLED_BACK),
    ],
)
def test_too_little_data_ends_by_the_policy(policy: requests.OnInsufficientData, status: Status) -> None:
    w = World(deployment(canary(policy), stable={5: 100}), before({5: 100}), counted=FEW)
    assert w.play() is status


def test_counts_that_cannot_be_had_hold_it_in_the_end() -> None:
    w = world(counted=Uncounted("router r1 does not answer"))
    while w.deployment.status is Status.RUNNING:
        w.turn()
    assert w.deployment.status is Status.HELD
    assert "version 6 cannot be judged: router r1 does not answer" in w.deployment.reason


def held() -> World:
    w = world(counted=FEW)
    while w.deployment.status is Status.RUNNING:
        w.turn()
    return w


@pytest.mark.parametrize(
    ("verb", "status"),
    [(Verb.PROMOTE, Status.SUCCEEDED), (Verb.ROLLBACK, Status.ROLLED_BACK), (Verb.ABORT, Status.ABORTED)],
)
def test_a_hold_ends_as_a_person_says(verb: Verb, status: Status) -> None:
    w = held()
    w.counted = GOOD
    w.ask(verb)
    assert w.play() is status


def test_a_hold_that_nobody_decides_goes_back_after_a_day() -> None:
    w = held()
    since = w.now
    assert w.play() is Status.ROLLED_BACK
    assert w.now - since == HELD_LIMIT
    assert w.weights[-1] == {5: 100}


def test_a_foreign_edit_that_nobody_decides_about_is_left_after_a_day() -> None:
    w = world()
    w.play_until(Bake)
    w.edit({5: 70, 6: 30})
    assert w.play() is Status.ABORTED
    assert w.alias
    assert w.alias.weights == {5: 70, 6: 30}


def test_a_promoted_foreign_edit_is_written_over() -> None:
    w = world()
    w.play_until(Bake)
    w.edit({5: 70, 6: 30})
    w.turn()
    assert w.deployment.status is Status.HELD
    w.ask(Verb.PROMOTE)
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 90, 6: 10}, {5: 90, 6: 10}, {5: 50, 6: 50}, {6: 100}]


def test_a_foreign_edit_during_the_way_back_freezes_it() -> None:
    w = world(counted=BAD)
    while w.deployment.status is Status.RUNNING:
        w.turn()
    while not traffic.written(w.deployment, w.alias):
        w.turn()
    w.edit({6: 100})
    assert isinstance(decide(w.deployment, w.observation(), w.now), Freeze)


@pytest.mark.parametrize(("verb", "status"), [(Verb.ABORT, Status.ABORTED), (Verb.ROLLBACK, Status.ROLLED_BACK)])
def test_a_verb_before_any_traffic_moved_ends_it_at_once(verb: Verb, status: Status) -> None:
    w = world()
    w.ask(verb)
    assert w.play() is status
    assert w.weights == []


def test_a_controller_that_comes_late_gives_what_was_due_a_moment_to_show() -> None:
    w = world(stuck={Shift})
    w.play_until(Shift)
    late = w.deployment.progress.deadline + timedelta(hours=1)
    seen = w.observation()
    just_back = Observation(alias=seen.alias, alias_revision=seen.alias_revision, watched=late)
    assert decide(w.deployment, just_back, late) == Wait(late + GRACE)


def test_the_first_deployment_of_an_alias_that_is_aborted_leaves_it_where_it_is() -> None:
    w = World(deployment(stable=None), None, stuck={Shift})
    w.play_until(Shift)
    w.ask(Verb.ABORT)
    assert w.play() is Status.ABORTED
    assert "there is no version to go back to" in w.deployment.reason


def test_what_a_deployment_keeps_running_shrinks_as_it_retires() -> None:
    w = world()
    assert scope.placed(w.deployment) == {5: EVERYWHERE, 6: EVERYWHERE}
    while w.deployment.progress.index != len(w.deployment.plan) - 1:
        w.turn()
    assert scope.placed(w.deployment) == {5: NOWHERE, 6: EVERYWHERE}
    w.play()
    assert scope.placed(w.deployment) == {}
