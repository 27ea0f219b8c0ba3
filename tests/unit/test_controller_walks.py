"""Walks of every strategy, with people, foreign hands and failures at any time: each ends, and ends right."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller import scope, steps, traffic, verbs
from controller.decision import Uncounted
from hotswap import requests
from hotswap.deployment import Shift, Start, Status, Test, Verb
from hotswap.errors import Invalid, Refused
from hotswap.judge.verdict import Outcome
from hotswap.metrics import Tally
from hotswap.model import FULL_WEIGHT, Weights
from tests.controller_walk import BAD, FEW, GOOD, NODES, World, before, canary, deployment

MOST_TURNS = 20_000
REQUESTS = st.one_of(
    st.builds(canary, st.sampled_from(requests.OnInsufficientData)),
    st.just(requests.AllAtOnce(function_name="f", version=6)),
    st.just(requests.BlueGreen(function_name="f", version=6)),
    st.just(
        requests.ABTesting(
            function_name="f", version=6, config=requests.ABTestingConfig(test_duration=timedelta(minutes=5))
        )
    ),
    st.builds(
        lambda size, back: requests.Rolling(
            function_name="f",
            version=6,
            config=requests.RollingConfig(batch_size=size, rollback_on_failure=back),
        ),
        st.sampled_from([10.0, 25.0, 50.0, 100.0]),
        st.booleans(),
    ),
)
COUNTS = st.sampled_from([GOOD, BAD, FEW, Uncounted("away")])
KINDS = st.sets(st.sampled_from([Start, Shift, Test]), max_size=1)
ASKS: st.SearchStrategy[tuple[Verb, dict[str, Any]]] = st.sampled_from(
    [
        (Verb.ROLLBACK, {}),
        (Verb.ABORT, {}),
        (Verb.PROMOTE, {}),
        (Verb.PROMOTE, {"full": True}),
        (Verb.PROMOTE, {"winner": 6}),
        (Verb.PROMOTE, {"winner": 5}),
        (Verb.PAUSE, {}),
        (Verb.RESUME, {}),
        (Verb.RESUME, {"adopt": True}),
        (Verb.RETRY, {}),
        (Verb.RETRY, {"step": 2}),
    ]
)


def asked(w: World, verb: Verb, more: dict[str, Any]) -> None:
    """As the service takes it: what makes no sense is refused, and nothing happens."""
    held = w.deployment
    w.ask(verb, **more)
    ask = w.deployment.asked
    assert ask
    try:
        verbs.refuse(held, verb)
        verbs.check(held, ask)
        if ask.adopt:
            verbs.check_adopted(held, w.alias)
    except (Refused, Invalid):
        w.deployment = held


def unfrozen(w: World, number: int) -> None:
    """The person who is called comes, and what was stuck is mended."""
    w.stuck, w.broken = set(), set()
    asked(w, Verb.ABORT if number % 2 else Verb.ROLLBACK, {})


@settings(max_examples=200, deadline=None)
@given(
    request=REQUESTS,
    counts=st.lists(COUNTS, min_size=1, max_size=6),
    asks=st.lists(st.none() | ASKS, max_size=20),
    edits=st.lists(st.none() | st.integers(0, 100), max_size=12),
    broken=KINDS,
    stuck=KINDS,
    first=st.booleans(),
)
def test_every_walk_ends_with_weights_that_add_up_and_none_for_a_version_that_failed(
    request: requests.AnyRequest,
    counts: list[Tally | Uncounted],
    asks: list[tuple[Verb, dict[str, Any]] | None],
    edits: list[int | None],
    broken: set[type],
    stuck: set[type],
    first: bool,  # noqa: FBT001 - given by hypothesis
) -> None:
    compared = isinstance(request, requests.ABTesting)
    stable: Weights | None = None if first and not compared else {5: FULL_WEIGHT}
    w = World(deployment(request, stable=stable), before(stable), broken=broken, stuck=stuck)
    for number in range(MOST_TURNS):
        w.counted = counts[number % len(counts)]
        if number < len(asks) and (ask := asks[number]):
            asked(w, *ask)
        if number < len(edits) and (share := edits[number]) is not None and w.alias:
            w.edit({5: share, 6: FULL_WEIGHT - share})
        going = w.turn()
        runs_where_it_has_traffic(w)
        if not going and w.deployment.status is Status.FROZEN:
            unfrozen(w, number)
        elif not going:
            break
    ends_right(w)


def runs_where_it_has_traffic(w: World) -> None:
    """What the deployment itself gave traffic to is placed somewhere, and every node has something to serve with."""
    made = w.deployment
    if made.status.terminal or not w.alias or not traffic.written(made, w.alias):
        return
    step = steps.present(made)
    if not isinstance(step, Shift):
        return
    places = scope.placed(made)
    assert all(any(node in places[version] for node in NODES) for version, weight in step.weights.items() if weight)
    assert all(any(node in where for where in places.values()) for node in NODES)


def ends_right(w: World) -> None:
    made = w.deployment
    assert made.status.terminal
    assert all(sum(weights.values()) == FULL_WEIGHT for weights in w.weights)
    failed = any(verdict.outcome is Outcome.FAIL for verdict in made.verdicts)
    if failed and made.status is Status.ROLLED_BACK:
        assert w.alias
        assert w.alias.weights == {5: FULL_WEIGHT}
    if made.status is Status.FAILED:
        assert w.weights == []
