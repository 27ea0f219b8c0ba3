"""A node is told from a version where all errors come from it, and hardly ever where the version fails everywhere."""

import random
from datetime import UTC, datetime
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hotswap.judge.basis import Basis, Sum
from hotswap.judge.nodes import FEW, MISTAKEN, MOST_IN_DOUBT, apart, suspicion
from hotswap.judge.verdict import Outcome
from hotswap.metrics import Tally
from hotswap.receipt import Judged, Rules
from hotswap.requests import Limits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOLD = 0.9
"""Of nodes that fail half of the time or always, and have as much to answer as the others."""
counts = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda it: (max(it), min(it)))
nodes = st.dictionaries(st.sampled_from(["n1", "n2", "n3", "n4"]), counts, max_size=4)


def answered(**by_node: tuple[int, int]) -> dict[str, Sum]:
    """Invocations and errors."""
    return {name: Sum(invocations=invocations, errors=errors) for name, (invocations, errors) in by_node.items()}


def basis(of: dict[str, Sum]) -> Basis:
    return Basis(version=6, step=2, at=NOW, tally=Tally.zero(), limits=Limits(), nodes=of)


def test_a_node_from_which_all_of_many_errors_come_is_to_blame() -> None:
    verdict = apart(basis(answered(n1=(30, 0), n2=(30, 15))))
    assert verdict
    assert verdict.outcome is Outcome.INSUFFICIENT  # of the version
    assert verdict.text.startswith("the fault is node n2: 15 of 30 invocations failed there, and none of 30 on other")


def test_few_errors_from_one_node_leave_it_open() -> None:
    of = answered(n1=(4, 0), n2=(4, 4))
    found = suspicion(of)
    assert found
    assert (found.node, found.sure) == ("n2", False)
    assert found.mistaken == pytest.approx(2 / comb(8, 4))
    assert apart(basis(of)) is None


def test_where_no_other_node_was_asked_yet_it_is_open() -> None:
    found = suspicion(answered(n1=(0, 0), n2=(3, 3)))
    assert found
    assert (found.mistaken, found.sure) == (1.0, False)


def test_of_a_great_many_it_is_told_as_of_few() -> None:
    found = suspicion(answered(n1=(5_000_000, 0), n2=(5_000_000, 1_000_000)))
    assert found
    assert (found.mistaken, found.sure) == (0.0, True)


@pytest.mark.parametrize(
    "of",
    [
        answered(),
        answered(n1=(30, 0)),
        answered(n1=(30, 1), n2=(30, 25)),
        answered(n2=(30, 15)),
        answered(n1=(1, 0), n2=(FEW + 1, FEW + 1)),
    ],
    ids=["untold", "no errors", "errors elsewhere too", "one node", "of which others have little"],
)
def test_elsewhere_it_is_the_version(of: dict[str, Sum]) -> None:
    assert suspicion(of) is None
    assert apart(basis(of)) is None


def test_where_no_node_was_told_of_there_is_nothing_to_say() -> None:
    told = basis({})
    untold = Basis(version=6, step=2, at=NOW, tally=told.tally, limits=told.limits)
    assert apart(untold) is None


def test_its_receipt_leads_to_the_verdict_again() -> None:
    of = basis(answered(n1=(30, 0), n2=(30, 15)))
    verdict = apart(of)
    assert verdict
    assert Judged(rules=Rules.NODE, basis=of, verdict=verdict).again == verdict
    other = replace(of, nodes=answered(n1=(30, 1), n2=(30, 15)))
    assert Judged(rules=Rules.NODE, basis=other, verdict=verdict).again is None


@given(nodes)
def test_a_node_is_blamed_only_for_errors_that_are_all_its_own(of: dict[str, tuple[int, int]]) -> None:
    told = answered(**of)
    if found := suspicion(told):
        assert [name for name, one in told.items() if one.errors] == [found.node]
        assert found.sure == (found.mistaken <= MISTAKEN)
        assert apart(basis(told)) is None or found.sure


@given(nodes, st.integers(1, 50))
def test_what_others_answer_well_makes_it_no_likelier_to_be_chance(of: dict[str, tuple[int, int]], more: int) -> None:
    told = answered(**of)
    found = suspicion(told)
    others = [name for name, one in told.items() if found and name != found.node and one.invocations]
    if found and others:
        before = told[others[0]]
        after = suspicion({**told, others[0]: Sum(invocations=before.invocations + more, errors=0)})
        assert after
        assert after.mistaken <= found.mistaken * (1 + 1e-9)


@pytest.mark.parametrize("failing", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("places", [2, 3, 10])
def test_a_version_that_fails_everywhere_is_hardly_ever_taken_for_a_node(failing: float, places: int) -> None:
    """Looked at after every invocation, until an error from elsewhere or too many of them end it."""
    rng, runs = random.Random(places), 3_000
    mistaken = sum(blames_a_node(rng, failing, places) for _ in range(runs))
    assert mistaken <= MISTAKEN * runs


def blames_a_node(rng: random.Random, failing: float, places: int) -> bool:
    names = [f"n{number}" for number in range(places)]
    told = dict.fromkeys(names, (0, 0))
    while sum(bool(errors) for _, errors in told.values()) < 2 and sum(it for _, it in told.values()) <= MOST_IN_DOUBT:
        name = rng.choice(names)
        invocations, errors = told[name]
        told[name] = invocations + 1, errors + (rng.random() < failing)
        if told[name][1] > errors and (found := suspicion(answered(**told))) and found.sure:
            return True
    return False


@pytest.mark.parametrize("failing", [0.5, 1.0])
@pytest.mark.parametrize("places", [2, 3, 10])
def test_a_node_that_fails_is_told_before_it_has_had_too_many_errors(failing: float, places: int) -> None:
    rng, runs = random.Random(places), 300
    found = sum(finds_it(rng, failing, places) for _ in range(runs))
    assert found >= runs * TOLD


def finds_it(rng: random.Random, failing: float, places: int) -> bool:
    told = {f"n{number}": (0, 0) for number in range(places)}
    while told["n0"][1] <= MOST_IN_DOUBT:
        name = f"n{rng.randrange(places)}"
        invocations, errors = told[name]
        told[name] = invocations + 1, errors + (name == "n0" and rng.random() < failing)
        found = suspicion(answered(**told))
        if told["n0"][1] and (found is None or found.sure):
            return found is not None
    return False
