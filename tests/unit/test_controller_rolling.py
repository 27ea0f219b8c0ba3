"""Rolling, by the guide's table and by property: capacity never goes, and the way back restores exactly what was."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller import scope, steps, strategies
from controller.scope import EVERYWHERE, NOWHERE
from controller.strategies import rolling
from hotswap import requests
from hotswap.deployment import Bake, Deployment, Retire, Shift, Start, Status
from hotswap.errors import Refused
from hotswap.model import Alias
from tests.controller_walk import BAD, BEGIN, NODES, World, before, deployment, tally, version, world

GUIDE = b"""{"functionName": "f", "version": 6, "strategy": "Rolling",
             "config": {"batchSize": 25, "batchDuration": "PT5M", "rollbackOnFailure": true}}"""


def request(**config: object) -> requests.Rolling:
    return requests.Rolling(
        function_name="f",
        version=6,
        config=requests.RollingConfig(**config),  # type: ignore[arg-type] # each test names its own fields
    )


@pytest.mark.parametrize(
    ("nodes", "size", "in_a_batch", "batches", "minutes"),
    [(4, 25, 1, 4, 20), (8, 25, 2, 4, 20), (16, 25, 4, 4, 20), (8, 50, 4, 2, 10), (8, 12.5, 1, 8, 40)],
)
def test_the_guides_table_of_batches(nodes: int, size: float, in_a_batch: int, batches: int, minutes: int) -> None:
    names = tuple(f"n{number}" for number in range(nodes))
    asked = request(batch_size=size)
    parts = rolling.batches(names, asked.config)
    assert ([len(part) for part in parts], len(parts)) == ([in_a_batch] * batches, batches)
    plan = deployment(asked, stable={5: 100}, nodes=names).plan
    held = [step.duration for step in plan if isinstance(step, Bake)]
    assert sum(held, timedelta()) == timedelta(minutes=minutes)


def test_a_batch_may_be_a_number_of_nodes() -> None:
    assert [len(part) for part in rolling.batches(NODES, request(batch_nodes=3).config)] == [3, 3, 2]


def test_the_guides_request_follows_its_timeline() -> None:
    parsed = requests.parse(GUIDE)
    w = World(deployment(parsed, stable={5: 100}), before({5: 100}))
    assert w.play() is Status.SUCCEEDED
    assert w.weights == [{5: 75, 6: 25}, {5: 50, 6: 50}, {5: 25, 6: 75}, {6: 100}]
    assert w.now - BEGIN == timedelta(minutes=20)


def test_a_version_that_fails_at_the_second_batch_goes_back_batch_by_batch() -> None:
    w = world(request())
    w.play_until(Bake, index=7)
    w.counted = tally(invocations=100, errors=7)
    assert w.play() is Status.ROLLED_BACK
    assert w.weights == [{5: 75, 6: 25}, {5: 50, 6: 50}, {5: 75, 6: 25}, {5: 100}]


def test_without_rollback_on_failure_it_stands_where_it_is() -> None:
    w = world(request(rollback_on_failure=False), counted=BAD)
    while w.deployment.status is Status.RUNNING:
        w.turn()
    assert w.deployment.status is Status.HELD
    assert w.deployment.faulty
    assert w.weights == [{5: 75, 6: 25}]


def test_a_batch_begins_only_while_the_others_serve() -> None:
    def least(asked: requests.Rolling) -> set[int]:
        plan = deployment(asked, stable={5: 100}).plan
        return {step.least_serving for step in plan if isinstance(step, Start)}

    assert least(request()) == {6}
    assert least(request(min_healthy=90)) == {8}
    assert least(request(min_healthy=0)) == {0}


def test_a_node_that_joins_runs_the_old_version_until_all_have_changed() -> None:
    w = world(request())
    w.play_until(Bake, index=3)
    places = scope.placed(w.deployment)
    assert ("new" in places[5], "new" in places[6]) == (True, False)
    w.play_until(Start, index=12)
    assert "new" in scope.placed(w.deployment)[6]


def test_the_first_version_of_an_alias_starts_everywhere() -> None:
    plan = strategies.plan(request(), strategies.State(None, version(), NODES))
    assert [type(step) for step in plan.steps] == [Start, Shift]
    assert plan.way_back == ()


def test_an_alias_that_is_split_already_is_refused() -> None:
    split = Alias(function="f", name="production", weights={5: 60, 4: 40}, last_good=5)
    with pytest.raises(Refused, match="more than one version"):
        strategies.plan(request(), strategies.State(split, version(), NODES))


SIZES = st.floats(min_value=1, max_value=100)
COUNTS = st.integers(1, 12)


def test_without_a_node_to_be_seen_the_way_back_is_the_same() -> None:
    made = deployment(request(), stable={5: 100}, nodes=())
    assert [step.weights for step in made.plan if isinstance(step, Shift)] == [{6: 100}]
    assert [step.weights for step in made.way_back if isinstance(step, Shift)] == [{5: 100}]


@given(size=SIZES, count=COUNTS)
def test_every_node_serves_at_every_step_and_weights_only_name_what_serves(size: float, count: int) -> None:
    names = tuple(f"n{number:02}" for number in range(count))
    made = deployment(request(batch_size=size), stable={5: 100}, nodes=names)
    for index in range(len(made.plan)):
        at = replace(made, progress=steps.enter(made.plan, index, BEGIN, attempt=1))
        _serves_everywhere(at, names)
    assert scope.placed(replace(made, progress=steps.enter(made.plan, len(made.plan) - 1, BEGIN, attempt=1))) == {
        5: NOWHERE,
        6: EVERYWHERE,
    }


@given(size=SIZES, count=COUNTS, data=st.data())
def test_the_way_back_from_anywhere_ends_with_exactly_what_was(size: float, count: int, data: st.DataObject) -> None:
    names = tuple(f"n{number:02}" for number in range(count))
    made = deployment(request(batch_size=size), stable={5: 100}, nodes=names)
    reached = data.draw(st.integers(0, len(made.plan) - 1))
    forth = replace(made, progress=steps.enter(made.plan, reached, BEGIN, attempt=1))
    begin = scope.first_needed(forth, frozenset({5}))
    back = replace(forth, status=Status.ROLLING_BACK, reached=reached, turned=begin)
    for index in range(begin, len(made.way_back)):
        back = replace(back, progress=steps.enter(made.way_back, index, BEGIN, attempt=1))
        _serves_everywhere(back, names)
    assert scope.placed(back) == {5: EVERYWHERE, 6: NOWHERE}
    shifts = [step for step in made.way_back[begin:] if isinstance(step, Shift)]
    assert shifts[-1].weights == {5: 100}
    shares = [step.weights.get(6, 0) for step in shifts]
    assert shares == sorted(shares, reverse=True)


def _serves_everywhere(at: Deployment, names: tuple[str, ...]) -> None:
    places = scope.placed(at)
    assert all(any(name in where for where in places.values()) for name in names)
    shift = steps.present(at)
    if isinstance(shift, Shift):
        assert all(any(name in places[version] for name in names) for version in shift.weights)


def test_a_retired_version_is_where_it_was_not_named() -> None:
    made = deployment(request(), stable={5: 100})
    at = replace(made, progress=steps.enter(made.plan, 2, BEGIN, attempt=1))
    assert isinstance(steps.present(at), Retire)
    assert [name for name in NODES if name in scope.placed(at)[5]] == list(NODES[2:])
