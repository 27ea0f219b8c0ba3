"""Canaries with a harm budget in worlds that break: whatever dies, pauses, or is edited, what holds of all deployments
holds of them."""

from random import Random
from typing import Any

import pytest

from hotswap.requests import AnyRequest, Canary, CanaryConfig
from tests.simulation import scenario
from tests.simulation.world import play

SEEDS = range(40)


def _budgeted(random: Random, **where: Any) -> AnyRequest:
    config = CanaryConfig(
        harm_budget=random.choice([5, 30, 200]),
        canary_duration=scenario._seconds(random),
        **scenario._judged(random),
    )
    return Canary(config=config, **where)


def test_worlds_with_harm_budgets_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario, "_canary", _budgeted)
    told = ""
    for seed in SEEDS:
        outcome = play(seed)
        assert not outcome.violations, "\n".join([f"seed {seed}", *outcome.history])
        told += "\n".join(outcome.history)
    assert "can be borne; step" in told, "weights have changed"
    assert "not even 1 %" in told, "budgets were spent"
