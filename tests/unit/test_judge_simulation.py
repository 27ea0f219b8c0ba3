"""How soon the judge rolls a bad version back, and how rarely a healthy one: simulated, with fixed seeds."""

from bisect import bisect_left, bisect_right
from math import sqrt
from random import Random

import pytest

from tests.judge_simulation import (
    FALSE,
    METRICS,
    SPEED,
    Rollout,
    ends,
    false_rollbacks,
    false_winners,
    false_winners_of_regulars,
)

RUNS = 200


def noise(share: float, runs: int) -> float:
    """Four standard errors."""
    return 4 * sqrt(share * (1 - share) / runs)


@pytest.mark.parametrize(("rollout", "told"), [pytest.param(rollout, told, id=name) for name, rollout, told in SPEED])
def test_a_bad_canary_is_rolled_back_as_soon_as_promised(rollout: Rollout, told: tuple[int, int]) -> None:
    ended = ends(rollout, runs=RUNS, random=Random(3), floor=1)
    for share, reference in zip((0.5, 0.9), told, strict=True):
        by_then = bisect_right(ended, reference * 1.05) / RUNS
        before = bisect_left(ended, reference * 0.95) / RUNS
        assert before - noise(share, RUNS) <= share <= by_then + noise(share, RUNS)


@pytest.mark.parametrize("rollout", [pytest.param(rollout, id=name) for name, rollout, _ in FALSE])
def test_a_healthy_canary_is_rolled_back_in_one_of_a_hundred_rollouts_at_most(rollout: Rollout) -> None:
    assert false_rollbacks(rollout, runs=RUNS, random=Random(4)) <= 0.01 + noise(0.01, RUNS)


def test_equal_versions_have_no_winner_however_often_one_looks() -> None:
    _, draw = METRICS[1]
    ours, naive = false_winners(draw, runs=40, random=Random(5))
    assert ours <= 0.05 + noise(0.05, 40)
    assert naive >= 0.42 - noise(0.42, 40)


def test_equal_versions_have_no_winner_where_users_come_again_and_would_have_if_each_visit_were_a_user() -> None:
    ours, naive = false_winners_of_regulars("responseTime", runs=30, random=Random(6))
    assert ours <= 0.05 + noise(0.05, 30)
    assert naive >= 0.40 - noise(0.40, 30)
