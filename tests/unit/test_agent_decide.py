"""What is started and what is taken away, for what a node should run and what it runs."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backoff import CRASH_LOOP, LONGEST, STEADY, Streak
from agent.decide import Decision, View, decide, served


def serving(key: str, version: int) -> View:
    return View(key, version, ready=True, known=True)


def published(key: str, version: int) -> View:
    return View(key, version, ready=True)


def starting(key: str, version: int) -> View:
    return View(key, version)


def worn(key: str, version: int) -> View:
    return View(key, version, ready=True, known=True, worn=True)


def retiring(key: str, version: int) -> View:
    return View(key, version, ready=True, known=True, retiring=True)


@pytest.mark.parametrize(
    ("desired", "views", "decision"),
    [
        pytest.param({}, [], Decision(), id="nothing wanted, nothing there"),
        pytest.param({1: 2}, [], Decision(start=(1, 1)), id="all are missing"),
        pytest.param({1: 2}, [starting("a", 1)], Decision(start=(1,)), id="one is missing"),
        pytest.param({1: 1}, [serving("a", 1)], Decision(), id="as it should be"),
        pytest.param({2: 1}, [serving("a", 1)], Decision(start=(2,)), id="the old one stays meanwhile"),
        pytest.param({2: 1}, [serving("a", 1), starting("b", 2)], Decision(), id="and while it starts"),
        pytest.param({2: 1}, [serving("a", 1), published("b", 2)], Decision(), id="and until the routers know it"),
        pytest.param({2: 1}, [serving("a", 1), serving("b", 2)], Decision(retire=("a",)), id="then it goes"),
        pytest.param({2: 2}, [serving("a", 1), serving("b", 2)], Decision(start=(2,)), id="not with half of them"),
        pytest.param({2: 1}, [starting("a", 1)], Decision(start=(2,), retire=("a",)), id="an idle one goes at once"),
        pytest.param({}, [serving("a", 1), starting("b", 2)], Decision(retire=("a", "b")), id="nothing is wanted"),
        pytest.param({1: 0}, [serving("a", 1)], Decision(retire=("a",)), id="none of it is wanted any more"),
        pytest.param({1: 1}, [retiring("a", 1)], Decision(start=(1,)), id="what goes does not count"),
        pytest.param({1: 1}, [worn("a", 1)], Decision(start=(1,)), id="what is worn is replaced"),
        pytest.param({1: 1}, [worn("a", 1), starting("b", 1)], Decision(), id="and stays until then"),
        pytest.param({1: 1}, [worn("a", 1), serving("b", 1)], Decision(retire=("a",)), id="and goes then"),
        pytest.param(
            {1: 1}, [serving("a", 1), serving("b", 1)], Decision(retire=("b",)), id="of too many the youngest goes"
        ),
        pytest.param(
            {1: 1},
            [starting("a", 1), serving("b", 1)],
            Decision(retire=("a",)),
            id="or the idle one",
        ),
        pytest.param({1: 1, 2: 1}, [serving("a", 1), serving("b", 2)], Decision(), id="two versions side by side"),
    ],
)
def test_what_is_decided(desired: dict[int, int], views: list[View], decision: Decision) -> None:
    assert decide(desired, views) == decision


VERSIONS = st.integers(1, 3)
DESIRED = st.dictionaries(VERSIONS, st.integers(0, 3), max_size=3)
KINDS = st.sampled_from([serving, published, starting, retiring])


@given(desired=DESIRED, kinds=st.lists(st.tuples(KINDS, VERSIONS), max_size=8))
def test_following_the_decisions_leads_to_what_is_wanted_and_never_below_it(
    desired: dict[int, int], kinds: list[tuple[object, int]]
) -> None:
    views = [kind(f"i{index}", version) for index, (kind, version) in enumerate(kinds)]  # type: ignore[operator]
    names = iter(range(1000))
    for _ in range(4):
        working = [view.version for view in views if view.known and not view.retiring]
        decision = decide(desired, views)
        left = [view for view in views if view.key not in decision.retire]
        still = [view.version for view in left if view.known and not view.retiring]
        for version in {*working} - {*still}:
            assert not desired.get(version)
            assert served(desired, left)
        started = [serving(f"n{next(names)}", version) for version in decision.start]
        views = [view for view in left if not view.retiring and view.known] + started
    counts = {version: sum(view.version == version for view in views) for version in (1, 2, 3)}
    assert counts == {version: desired.get(version, 0) for version in (1, 2, 3)}


def test_pauses_grow_to_a_limit() -> None:
    streak, pauses = Streak(), []
    for _ in range(20):
        streak = streak.failed(served=0)
        pauses.append(streak.pause(Random(1)))
    assert pauses[0] < 0.2
    assert pauses == sorted(pauses)
    assert LONGEST / 2 <= pauses[-1] <= LONGEST


def test_failures_in_a_row_are_a_crash_loop_until_one_serves_for_a_while() -> None:
    streak = Streak()
    for _ in range(CRASH_LOOP):
        assert not streak.crash_loop
        streak = streak.failed(served=1)
    assert streak.crash_loop
    assert streak.failed(served=STEADY) == Streak(1)
