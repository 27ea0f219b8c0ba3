"""A version whose errors all come from one node goes on without the node; in every doubt it is the version."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from controller.alias import set_by_hand, shifted
from controller.decide import decide
from controller.decision import GoBack, LeaveOut, Wait
from hotswap import requests
from hotswap.deployment import Bake, Deployment, Retire, Shift, Status
from hotswap.judge.basis import Sum
from hotswap.judge.nodes import MOST_IN_DOUBT, RULE
from hotswap.model import Alias
from hotswap.receipt import faults
from tests.controller_walk import BEGIN, World, deployment, tally, world

ROLLING = requests.Rolling(function_name="f", version=6)


def answered(**by_node: tuple[int, int]) -> dict[str, Sum]:
    """Invocations and errors."""
    return {name: Sum(invocations=invocations, errors=errors) for name, (invocations, errors) in by_node.items()}


def failing(request: requests.AnyRequest | None = None, **by_node: tuple[int, int]) -> World:
    """Version 6 has its first traffic, and did this on its nodes."""
    made = world(request)
    made.play_until(Bake)
    fails(made, **by_node)
    return made


def fails(made: World, **by_node: tuple[int, int]) -> None:
    made.nodes[6] = answered(**by_node)
    invocations, errors = (sum(column) for column in zip(*by_node.values(), strict=True))
    made.tallies[6] = tally(invocations=invocations, errors=errors)


def mended(made: World) -> None:
    made.nodes.clear()
    made.tallies.clear()


def decision(made: World) -> object:
    return decide(made.deployment, made.observation(), made.now)


def test_the_version_goes_from_the_node_and_has_its_phase_once_more() -> None:
    made = failing(n1=(85, 0), n2=(15, 15))
    assert isinstance(decision(made), LeaveOut)
    made.turn()
    index = made.deployment.progress.index
    retire, shift, bake = made.deployment.plan[index : index + 3]
    assert retire == Retire(version=6, nodes=["n2"])
    assert isinstance(shift, Shift)
    assert (shift.weights, shift.without) == ({5: 90, 6: 10}, {6: ["n2"]})
    assert bake == made.deployment.plan[index - 1]
    mended(made)
    assert made.play() is Status.SUCCEEDED
    assert not made.deployment.faulty
    assert made.deployment.verdicts[0].rule == RULE
    assert made.weights == [{5: 90, 6: 10}, {5: 90, 6: 10}, {5: 50, 6: 50}, {6: 100}]
    assert not faults(made.receipts, verdicts=made.deployment.verdicts, last=made.deployment.receipt)


def test_what_it_did_before_that_counts_for_it_no_more() -> None:
    made = failing(n1=(85, 0), n2=(15, 15))
    before = made.revision
    made.turn()
    mended(made)
    made.play_until(Bake, index=made.deployment.progress.index)
    assert made.deployment.traffic_since == made.revision > before


def test_few_errors_from_one_node_are_waited_for_and_one_from_elsewhere_decides() -> None:
    made = failing(n1=(3, 0), n2=(4, 4))
    assert isinstance(decision(made), Wait)
    fails(made, n1=(4, 1), n2=(4, 4))
    assert isinstance(decision(made), GoBack)


def test_where_errors_were_is_waited_for_a_little_while() -> None:
    made = failing(n1=(85, 0), n2=(15, 15))
    made.nodes[6] = answered(n1=(3, 0), n2=(2, 2))
    assert isinstance(decision(made), Wait)
    made.tallies[6] = tally(invocations=100, errors=MOST_IN_DOUBT + 1)
    assert isinstance(decision(made), GoBack)


def test_however_many_have_failed_by_then_a_node_is_told_from_the_version() -> None:
    assert isinstance(decision(failing(n1=(500, 0), n2=(500, 400))), LeaveOut)


@pytest.mark.parametrize(
    "by_node",
    [
        {"n1": (50, 8), "n2": (50, 7)},
        {"n2": (50, 25)},
        {"n1": (1, 0), "n2": (1000, MOST_IN_DOUBT + 100)},
    ],
    ids=["everywhere", "on its only node", "too much for so little elsewhere"],
)
def test_elsewhere_it_is_the_version(by_node: dict[str, tuple[int, int]]) -> None:
    assert isinstance(decision(failing(None, **by_node)), GoBack)


def test_where_routers_do_not_tell_the_nodes_it_is_the_version() -> None:
    made = failing(n1=(85, 0), n2=(15, 15))
    made.nodes.clear()
    assert isinstance(decision(made), GoBack)


def test_what_fails_on_the_next_node_then_is_the_version() -> None:
    made = failing(n1=(85, 0), n2=(15, 15), n3=(50, 0))
    made.turn()
    mended(made)
    made.play_until(Bake, index=made.deployment.progress.index)
    fails(made, n1=(15, 15), n3=(50, 0))
    assert isinstance(decision(made), GoBack)
    assert made.play() is Status.ROLLED_BACK
    assert made.weights[-1] == {5: 100}
    assert made.deployment.faulty


def test_while_it_goes_from_node_to_node_its_weight_says_on_how_many_it_runs() -> None:
    assert isinstance(decision(failing(ROLLING, n1=(85, 0), n2=(15, 15))), GoBack)


def test_the_alias_knows_the_node_for_as_long_as_it_gives_the_version_traffic() -> None:
    begun = deployment(stable={5: 100})
    alias = shifted(None, Shift(weights={5: 90, 6: 10}, without={6: ["n2"]}), begun, BEGIN)
    assert alias.without == {6: ["n2"]}
    alias = then(alias, Shift(weights={6: 100}), begun)
    assert alias.without == {6: ["n2"]}
    assert then(alias, Shift(weights={5: 100}), begun).without == {}


def test_weights_that_a_person_sets_bring_the_node_back() -> None:
    alias = shifted(None, Shift(weights={6: 100}, without={6: ["n2"]}), deployment(stable={5: 100}), BEGIN)
    assert set_by_hand(alias, {6: 100}, who="ada", why="n2 is mended", now=BEGIN).without == {}


def then(alias: Alias, step: Shift, begun: Deployment) -> Alias:
    return shifted(alias, step, replace(begun, created=BEGIN + timedelta(seconds=1)), BEGIN)
