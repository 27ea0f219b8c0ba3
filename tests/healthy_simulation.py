"""Plays whole canaries of versions that are as good as the stable one, judged as those that ship are: by the guard at
each look, and by the limits at the end of each phase. None of them should be rolled back.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from hotswap.judge.basis import SAMPLE_EVERY, Basis, Epoch
from hotswap.judge.guard import watch
from hotswap.judge.thresholds import judge
from hotswap.judge.verdict import Outcome
from hotswap.metrics import Count, Tally
from hotswap.requests import Limits
from tests.judge_simulation import bad_at

PHASES = (10, 50, 100)
"""Weights."""
LASTS = timedelta(minutes=5)
"""Of each phase."""
RATES = (2, 20, 100)
"""Invocations per second."""
FAILING = (0.0, 0.001, 0.005, 0.01, 0.02)
"""How often both versions fail: within the limit, which is 5 %."""
BEGIN = datetime(2025, 11, 23, tzinfo=UTC)


@dataclass(slots=True)
class Answered:
    """By one version under one set of weights."""

    good: int = 0
    bad: int = 0

    def grow(self, random: Random, invocations: int, failing: float) -> None:
        bad = sum(1 for _ in bad_at(random, failing, until=invocations)) if failing else 0
        self.bad, self.good = self.bad + bad, self.good + invocations - bad

    @property
    def all(self) -> int:
        return self.good + self.bad


def rolled_back(random: Random) -> str | None:
    """Which rule ended a healthy canary; `None` when it was rolled out."""
    rate, failing = random.choice(RATES), random.choice(FAILING)
    levels: list[tuple[Answered, Answered]] = []
    for weight in PHASES:
        canary, stable = Answered(), Answered()
        levels.append((canary, stable))
        each = rate * SAMPLE_EVERY.total_seconds()
        for _ in range(int(LASTS / SAMPLE_EVERY)):
            canary.grow(random, round(each * weight / 100), failing)
            stable.grow(random, round(each * (100 - weight) / 100), failing)
            if verdict := watch(_basis(levels)):
                return verdict.rule
        found = judge(_basis(levels[-1:]))
        if found.outcome is Outcome.FAIL:
            return found.rule
    return None


def _basis(levels: list[tuple[Answered, Answered]]) -> Basis:
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.STATUS] = sum(it.good for it, _ in levels), sum(it.bad for it, _ in levels)
    epochs = [
        Epoch(invocations=it.all, errors=it.bad, beside=beside.all, beside_errors=beside.bad) for it, beside in levels
    ]
    return Basis(version=2, step=1, at=BEGIN, tally=Tally(counts=counts), limits=Limits(), epochs=epochs)
