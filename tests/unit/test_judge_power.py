"""How soon the guard is said to find a bad version, held against a guard that is played by the thousand."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hotswap.judge.power import Stretch, at_least, breaks_limit, found_by, smallest, tolerated
from hotswap.requests import Limits
from tests.judge_simulation import SPEED, Beside, Limit, Rollout, ends

RUNS = 1000
MOST = 100_000
EARLY, LATE = 0.9, 1.4
"""What is told over what is seen, at least and at most. It is too long rather than too short, the module says why."""


def limits(rate: float | None = None, *, ratio: float | None = None) -> Limits:
    return Limits(rollback_on_error_rate=rate, rollback_on_error_ratio=ratio)


def chance_after(rollout: Rollout) -> Callable[[int], float]:
    """Of having been found, after so many invocations of the canary."""
    match rollout:
        case Limit(rate=rate, tau=tau):
            return lambda it: found_by(rate, [Stretch(it, 0)], limits(tau), stable=0)
        case Beside(rate=rate, stable=stable, weight=weight):
            each = (1 - weight) / weight
            return lambda it: found_by(rate, [Stretch(it, it * each)], limits(ratio=1), stable=stable)


@pytest.mark.parametrize("rollout", [pytest.param(rollout, id=name) for name, rollout, _ in SPEED])
def test_when_a_bad_version_is_found_is_what_the_simulation_sees(rollout: Rollout) -> None:
    seen, chance = ends(rollout, runs=RUNS, random=Random(7)), chance_after(rollout)
    for share in (0.5, 0.9):
        told = smallest(lambda it, share=share: chance(it) >= share, most=MOST)  # type: ignore[misc]
        assert told is not None
        played = seen[int(RUNS * share)]
        assert played * EARLY - 1 <= told <= played * LATE + 1


def test_phases_add_up_as_the_guard_adds_them() -> None:
    once = found_by(0.02, [Stretch(400, 3600)], limits(ratio=2), stable=0.001)
    parts = found_by(0.02, [Stretch(100, 900)] * 4, limits(ratio=2), stable=0.001)
    assert once == pytest.approx(parts)


def test_what_has_no_version_beside_it_is_no_evidence_against_it_by_comparison() -> None:
    assert found_by(1, [Stretch(1000, 0)], limits(ratio=2), stable=0.001) == 0


def test_where_nothing_is_guarded_nothing_is_found() -> None:
    assert found_by(1, [Stretch(1000, 1000)], limits(), stable=0.001) == 0


def test_the_more_limits_share_the_false_alarms_the_later_it_is_found() -> None:
    alone = found_by(0.1, [Stretch(1000, 0)], limits(0.05), stable=0)
    shared = found_by(0.1, [Stretch(1000, 0)], limits(0.05, ratio=2), stable=0)
    assert shared < alone


def test_the_limits_say_nothing_of_a_phase_that_was_too_short() -> None:
    assert breaks_limit(1, Stretch(19, 0), limits(0.05)) == 0
    assert breaks_limit(1, Stretch(20, 0), limits(0.05)) == 1


def test_a_phase_breaks_its_limit_by_chance_as_a_binomial_does() -> None:
    found = breaks_limit(0.01, Stretch(30, 0), limits(0.05))
    assert found == pytest.approx(stats.binom.sf(1, 30, 0.01))


def test_what_the_limits_allow_is_the_strictest_of_them() -> None:
    assert tolerated(limits(0.05, ratio=2), stable=0.001) == 0.002
    assert tolerated(limits(0.05, ratio=2), stable=0.1) == 0.05
    assert tolerated(limits(), stable=0.1) == 1


@given(st.integers(1, 2000), st.floats(0.001, 0.999), st.data())
def test_a_tail_is_that_of_the_binomial(invocations: int, rate: float, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, invocations + 1))
    expected = stats.binom.sf(bad - 1, invocations, rate)
    assert at_least(bad, invocations, rate) == pytest.approx(expected, rel=1e-9, abs=1e-200)


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_the_smallest_number_is_found_or_none(most: int, threshold: int) -> None:
    found = smallest(lambda it: it >= threshold, most=most)
    assert found == (max(1, threshold) if threshold <= most else None)
