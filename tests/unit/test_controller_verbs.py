"""What people may ask: it happens, and nothing else does; what makes no sense is refused with what would."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from controller import steps, verbs
from controller.scope import EVERYWHERE, placed
from controller.turning import HELD_LIMIT
from hotswap import requests
from hotswap.deployment import Ask, AwaitPromotion, Bake, Retire, Shift, Start, Status, Verb
from hotswap.errors import Invalid, Refused
from tests.controller_walk import BAD, BEGIN, FEW, GOOD, World, world


def paused() -> World:
    """Four minutes into the first phase."""
    w = world()
    w.play_until(Bake)
    w.now += timedelta(minutes=4)
    w.ask(Verb.PAUSE)
    w.turn()
    return w


def ask(verb: Verb, **more: object) -> Ask:
    return replace(Ask(verb=verb, who="ada", why="", at=BEGIN), **more)


def test_a_pause_uses_up_no_deadline() -> None:
    w = paused()
    assert w.deployment.status is Status.PAUSED
    w.now += timedelta(hours=3)
    w.ask(Verb.RESUME)
    assert w.play() is Status.SUCCEEDED
    assert w.now - BEGIN == timedelta(hours=3, minutes=30)


def test_a_pause_that_nobody_ends_goes_back_after_a_day() -> None:
    w = paused()
    since = w.now
    assert w.play() is Status.ROLLED_BACK
    assert w.now - since == HELD_LIMIT


def test_a_version_is_judged_while_it_is_paused() -> None:
    w = paused()
    w.counted = BAD
    assert w.play() is Status.ROLLED_BACK
    assert w.weights[-1] == {5: 100}


def test_a_version_is_judged_while_it_is_held() -> None:
    w = world(counted=FEW)
    while w.deployment.status is Status.RUNNING:
        w.turn()
    w.counted = BAD
    assert w.play() is Status.ROLLED_BACK


def test_a_paused_deployment_can_be_promoted_and_rolled_back() -> None:
    w = paused()
    w.ask(Verb.PROMOTE)
    w.turn()
    assert (w.deployment.status, w.weights[-1]) == (Status.RUNNING, {5: 90, 6: 10})
    w = paused()
    w.ask(Verb.ROLLBACK)
    assert w.play() is Status.ROLLED_BACK


def test_a_promotion_ends_one_phase_and_no_more() -> None:
    w = world()
    w.play_until(Bake)
    w.ask(Verb.PROMOTE)
    assert w.play() is Status.SUCCEEDED
    assert w.now - BEGIN == timedelta(minutes=20)


def test_a_promotion_in_full_leaves_every_phase_out() -> None:
    w = world()
    w.play_until(Bake)
    w.ask(Verb.PROMOTE, full=True)
    assert w.play() is Status.SUCCEEDED
    assert w.now == BEGIN
    assert w.weights == [{5: 90, 6: 10}, {6: 100}]


def test_a_promotion_in_full_of_a_rolling_deployment_still_changes_every_node() -> None:
    w = world(requests.Rolling(function_name="f", version=6))
    w.play_until(Bake)
    w.ask(Verb.PROMOTE, full=True)
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 75, 6: 25}, {5: 50, 6: 50}, {5: 25, 6: 75}, {6: 100}]


def test_a_held_deployment_is_retried_from_a_step() -> None:
    w = world(counted=FEW)
    while w.deployment.status is Status.RUNNING:
        w.turn()
    w.counted = GOOD
    w.ask(Verb.RETRY, step=2)
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 90, 6: 10}, {5: 90, 6: 10}, {5: 50, 6: 50}, {6: 100}]


def test_a_retry_from_an_earlier_phase_gives_its_weights_again() -> None:
    w = world()
    w.play_until(Bake, index=4)
    w.counted = FEW
    while w.deployment.status is Status.RUNNING:
        w.turn()
    w.counted = GOOD
    w.ask(Verb.RETRY, step=3)
    assert w.play() is Status.SUCCEEDED
    assert [one.get(6, 0) for one in w.weights] == [10, 50, 10, 50, 100]


def test_a_retry_first_starts_what_was_taken_from_its_nodes_since_the_step() -> None:
    w = world()
    w.play_until(Retire)
    w.edit({3: 50, 6: 50})
    w.turn()
    assert w.deployment.status is Status.HELD
    w.ask(Verb.RETRY, step=2)
    w.turn()
    assert steps.present(w.deployment) == Start(version=5)
    assert w.play() is Status.SUCCEEDED
    assert w.weights[-3:] == [{5: 90, 6: 10}, {5: 50, 6: 50}, {6: 100}]


def test_what_a_deployment_has_started_and_kept_is_not_started_by_a_retry() -> None:
    w = world()
    w.play_until(Bake, index=4)
    w.edit({5: 100})
    w.turn()
    w.ask(Verb.RETRY, step=2)
    w.turn()
    assert steps.present(w.deployment) == Shift(weights={5: 90, 6: 10})


def test_a_version_that_lost_all_of_its_weight_is_started_before_it_is_given_any_again() -> None:
    w = world()
    w.play_until(Bake)
    w.edit({6: 100})
    w.turn()
    w.ask(Verb.RESUME)
    w.turn()
    assert steps.present(w.deployment) == Start(version=5)
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 90, 6: 10}, {5: 90, 6: 10}, {5: 50, 6: 50}, {6: 100}]


def test_an_alias_that_was_deleted_is_made_again_when_what_it_gave_traffic_runs() -> None:
    w = world()
    w.play_until(Start)
    while not isinstance(steps.present(w.deployment), Shift):
        w.turn()
    w.alias = None
    w.turn()
    assert steps.present(w.deployment) == Start(version=5)
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 90, 6: 10}, {5: 50, 6: 50}, {6: 100}]


def test_a_rollback_after_a_retry_still_goes_back() -> None:
    w = world(requests.Canary(function_name="f", version=6, config=requests.CanaryConfig(canary_increments=[50])))
    w.play_until(Bake)
    w.counted = FEW
    while w.deployment.status is Status.RUNNING:
        w.turn()
    w.ask(Verb.RETRY, step=1)
    w.turn()
    w.ask(Verb.ROLLBACK)
    assert w.play() is Status.ROLLED_BACK
    assert w.weights[-1] == {5: 100}


def test_a_rolling_deployment_is_retried_from_no_batch_but_its_present_one() -> None:
    w = world(requests.Rolling(function_name="f", version=6))
    w.play_until(Bake, index=7)
    with pytest.raises(Refused, match="has started a version at step 5: it cannot be retried from step 2"):
        verbs.check(w.deployment, ask(Verb.RETRY, step=2))
    verbs.check(w.deployment, ask(Verb.RETRY, step=6))


def test_foreign_weights_are_adopted_when_a_person_says_so() -> None:
    w = world()
    w.play_until(Bake)
    w.edit({5: 70, 6: 30})
    w.turn()
    assert w.deployment.status is Status.HELD
    w.ask(Verb.RESUME, adopt=True)
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 90, 6: 10}, {5: 70, 6: 30}, {5: 50, 6: 50}, {6: 100}]


def test_foreign_weights_are_written_over_when_it_is_resumed() -> None:
    w = world()
    w.play_until(Bake)
    w.edit({5: 70, 6: 30})
    w.turn()
    w.ask(Verb.RESUME)
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 90, 6: 10}, {5: 90, 6: 10}, {5: 50, 6: 50}, {6: 100}]


def test_weights_of_a_version_that_does_not_run_cannot_be_adopted() -> None:
    w = world()
    w.play_until(Bake)
    w.edit({5: 70, 6: 30})
    assert w.alias
    verbs.check_adopted(w.deployment, w.alias)
    with pytest.raises(Refused, match="cannot go on with v3 100 %: it runs versions 5 and 6 everywhere"):
        verbs.check_adopted(w.deployment, replace(w.alias, weights={3: 100}))
    assert placed(w.deployment) == {5: EVERYWHERE, 6: EVERYWHERE}


def test_weights_of_a_version_that_is_about_to_be_retired_cannot_be_adopted() -> None:
    w = world()
    w.play_until(Bake, index=6)
    w.edit({5: 70, 6: 30})
    with pytest.raises(Refused, match="its next steps retire version 5"):
        verbs.check_adopted(w.deployment, w.alias)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("verb", list(Verb))
def test_each_status_takes_some_verbs_and_refuses_the_others_with_those(status: Status, verb: Verb) -> None:
    made = replace(world().deployment, status=status)
    if verb in verbs.ALLOWED[status]:
        verbs.refuse(made, verb)
        return
    with pytest.raises(Refused, match=f"d-1 is {status}: there is nothing to {verb}") as refusal:
        verbs.refuse(made, verb)
    assert "`hotswap " in refusal.value.hint


@pytest.mark.parametrize("status", [it for it in Status if not it.terminal and it is not Status.ROLLING_BACK])
def test_every_status_that_waits_has_a_way_out(status: Status) -> None:
    assert verbs.commands(replace(world().deployment, status=status))


def test_a_step_with_an_effect_is_not_promoted_but_in_full() -> None:
    w = world()
    with pytest.raises(Refused, match="it is to start version 6: there is nothing to promote"):
        verbs.check(w.deployment, ask(Verb.PROMOTE))
    verbs.check(w.deployment, ask(Verb.PROMOTE, full=True))


def test_a_test_is_promoted_only_with_a_winner_that_takes_part() -> None:
    w = world(requests.ABTesting(function_name="f", version=6))
    while not isinstance(w.deployment.plan[w.deployment.progress.index], AwaitPromotion):
        w.turn()
    with pytest.raises(Refused, match="name the winner"):
        verbs.check(w.deployment, ask(Verb.PROMOTE))
    with pytest.raises(Refused, match="cannot be won by version 9: the versions of its test are versions 5 and 6"):
        verbs.check(w.deployment, ask(Verb.PROMOTE, winner=9))
    verbs.check(w.deployment, ask(Verb.PROMOTE, winner=5))
    assert "hotswap promote d-1 --winner VERSION" in verbs.commands(w.deployment)


def test_a_retry_names_a_step_that_is_there_and_was_come_to() -> None:
    with pytest.raises(Invalid, match="has no step 20"):
        verbs.check(world().deployment, ask(Verb.RETRY, step=20))
    with pytest.raises(Refused, match="has come to step 1: it cannot be retried from step 2"):
        verbs.check(world().deployment, ask(Verb.RETRY, step=2))


def test_a_frozen_way_back_of_batches_goes_on_with_the_batch_it_was_at() -> None:
    w = world(requests.Rolling(function_name="f", version=6))
    w.play_until(Bake, index=7)
    w.counted, w.stuck = BAD, {Start}
    assert w.play() is Status.FROZEN
    w.stuck = set()
    w.ask(Verb.ROLLBACK)
    assert w.play() is Status.ROLLED_BACK
    assert [one.get(6, 0) for one in w.weights] == [25, 50, 25, 0]


def test_a_frozen_deployment_calls_for_a_person_again_and_again() -> None:
    w = world(stuck={Shift})
    assert w.play() is Status.FROZEN
    told = w.deployment.events
    w.now = w.deployment.progress.deadline
    w.turn()
    assert w.deployment.events == told + 1
