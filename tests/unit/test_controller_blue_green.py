"""BlueGreen: tested without traffic, switched at once, watched, and one shift from being back for as long as blue is
kept."""

from datetime import timedelta

import pytest

from hotswap import requests
from hotswap.deployment import Bake, Keep, Shift, Start, Status, Test, Verb
from tests.controller_walk import BAD, BEGIN, GOOD, World, before, deployment, world

GUIDE = b"""{"functionName": "f", "version": 6, "strategy": "BlueGreen",
             "config": {"testDuration": "PT5M", "switchType": "Instant", "keepBlue": true,
                        "keepBlueDuration": "PT1H"}}"""


def request(**config: object) -> requests.BlueGreen:
    return requests.BlueGreen(
        function_name="f",
        version=6,
        config=requests.BlueGreenConfig(**config),  # type: ignore[arg-type] # each test names its own fields
    )


def test_the_guides_request_follows_its_timeline() -> None:
    w = World(deployment(requests.parse(GUIDE), stable={5: 100}), before({5: 100}))
    moments: dict[type, timedelta] = {}
    while w.turn():
        moments.setdefault(type(w.deployment.plan[w.deployment.progress.index]), w.now - BEGIN)
    assert w.deployment.status is Status.SUCCEEDED
    assert w.weights == [{6: 100}]
    assert moments[Test] == timedelta()
    assert moments[Shift] == timedelta(minutes=5)
    assert moments[Keep] == timedelta(minutes=10)
    assert w.now - BEGIN == timedelta(minutes=70)


def test_green_that_fails_its_tests_never_has_traffic() -> None:
    w = world(request(), broken={Test})
    assert w.play() is Status.FAILED
    assert w.weights == []
    assert w.deployment.faulty


def test_green_that_fails_with_traffic_gives_it_back_in_one_shift() -> None:
    w = world(request())
    w.play_until(Bake)
    w.counted = BAD
    began = w.now
    assert w.play() is Status.ROLLED_BACK
    assert w.weights == [{6: 100}, {5: 100}]
    assert w.now == began


@pytest.mark.parametrize("kind", [Bake, Keep])
def test_blue_is_one_command_from_being_back(kind: type[Bake | Keep]) -> None:
    w = world(request())
    w.play_until(kind)
    w.ask(Verb.ROLLBACK)
    assert w.play() is Status.ROLLED_BACK
    assert w.weights[-1] == {5: 100}


def test_green_is_judged_while_blue_is_kept() -> None:
    w = world(request())
    w.play_until(Keep)
    w.counted = BAD
    assert w.play() is Status.ROLLED_BACK
    assert w.weights[-1] == {5: 100}


def test_a_promotion_ends_the_keeping_of_blue() -> None:
    w = world(request())
    w.play_until(Keep)
    kept = w.now
    w.ask(Verb.PROMOTE)
    assert w.play() is Status.SUCCEEDED
    assert w.now == kept


def test_blue_is_not_kept_where_nobody_wants_it() -> None:
    plan = deployment(request(keep_blue=False), stable={5: 100}).plan
    assert not any(isinstance(step, Keep) for step in plan)


def test_the_first_version_of_an_alias_is_tested_and_watched_and_has_no_blue_to_keep() -> None:
    w = World(deployment(request(), stable=None), None)
    assert [type(step) for step in w.deployment.plan] == [Start, Test, Shift, Bake]
    assert w.play() is Status.SUCCEEDED


def test_tests_that_do_not_end_fail_the_deployment_at_their_deadline() -> None:
    w = world(request(), stuck={Test}, counted=GOOD)
    assert w.play() is Status.FAILED
    assert w.deployment.reason == "the tests of version 6 were not over within 5 min"
    assert not w.deployment.faulty
