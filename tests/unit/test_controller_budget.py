"""A canary with a harm budget, from decision to decision: its weights follow from what is counted."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from controller import strategies
from controller.decision import Counted, Uncounted
from hotswap import requests
from hotswap.deployment import Ramp, Retire, Shift, Start, Status, Verb
from hotswap.errors import Invalid
from hotswap.judge.basis import SAMPLE_EVERY
from hotswap.judge.verdict import Outcome
from hotswap.metrics import Count, Tally
from hotswap.model import FULL_WEIGHT, Sticky
from hotswap.receipt import faults
from tests.controller_walk import BEGIN, NODES, World, before, deployment, version

BUDGET = 50


def canary(**config: Any) -> requests.Canary:
    told = {"harm_budget": BUDGET, "rollback_on_error_ratio": None, "rollback_on_error_rate": None, **config}
    return requests.Canary(function_name="f", version=6, config=requests.CanaryConfig(**told))


@dataclass
class Busy(World):
    """Invocations come at a steady rate, and version 6 fails at another; the routers are asked every two seconds."""

    requests: float = 20.0
    failing: float = 0.0
    answering: float = 1.0
    """Share of what version 6 is given that it ever answers."""
    rows: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    """By version and revision of the weights: answered, and failed of these."""
    looked: datetime = BEGIN
    last: Counted | None = None

    def counts(self) -> Counted | Uncounted:
        if isinstance(self.counted, Uncounted):
            return self.counted
        if self.last is None or self.now >= self.looked + SAMPLE_EVERY:
            self._come((self.now - self.looked).total_seconds())
            tallies = {key: _tally(*told) for key, told in self.rows.items()}
            found = Counted(tallies, self.now)
            if self.last:
                fresh, lapse = found.invocations - self.last.invocations, self.now - self.looked
                lately, span = self.last.lately + fresh, self.last.span + lapse
                found = Counted(tallies, self.now, fresh=fresh, lapse=lapse, lately=lately, span=span)
            self.last, self.looked = found, self.now
        return self.last

    def _come(self, seconds: float) -> None:
        weights = self.alias.weights if self.alias else {}
        for number, weight in weights.items():
            share = self.requests * seconds * weight / FULL_WEIGHT * (self.answering if number == 6 else 1)
            row = self.rows.setdefault((number, self.revision), [0.0, 0.0])
            row[0] += share
            row[1] += share * (self.failing if number == 6 else 0)

    def later(self) -> bool:
        """One decision; where that is to wait, no longer than until the routers are asked again."""
        now, again = self.now, self.now + SAMPLE_EVERY
        more = self.turn()
        self.now = max(now, min(self.now, again))
        return more

    def run(self, until: timedelta = timedelta(hours=2)) -> Status:
        while self.later() and self.now < BEGIN + until:
            pass
        return self.deployment.status

    @property
    def failed(self) -> float:
        return sum(failed for (number, _), (_, failed) in self.rows.items() if number == 6)

    @property
    def shares(self) -> list[int]:
        """The weights of version 6, in the order in which it had them."""
        return [weights.get(6, 0) for weights in self.weights]


def _tally(answered: float, failed: float) -> Tally:
    counts = Tally.zero().counts
    counts[Count.STATUS] = round(failed)
    counts[Count.OK] = round(answered) - counts[Count.STATUS]
    return Tally(counts=counts)


def busy(request: requests.Canary | None = None, **world: Any) -> Busy:
    return Busy(deployment(request or canary(), stable={5: 100}), before({5: 100}), **world)


def test_the_plan_weighs_before_anything_is_given() -> None:
    plan = strategies.plan(canary(), strategies.State(before({5: 100}), version(6), NODES))
    assert [type(step) for step in plan.steps] == [Start, Ramp, Shift, Retire]


def test_a_good_version_has_more_and_more_and_all_of_it_after_its_time() -> None:
    w = busy()
    assert w.run() is Status.SUCCEEDED
    assert w.shares[-1] == 100
    assert w.shares == sorted(w.shares)
    assert w.shares[0] <= 10
    assert max(w.shares[:-1]) <= 50
    assert timedelta(minutes=10) <= w.now - BEGIN <= timedelta(minutes=11)


@pytest.mark.parametrize("failing", [1.0, 0.5, 0.2, 0.06])
def test_a_bad_version_costs_no_more_than_the_budget(failing: float) -> None:
    w = busy(failing=failing)
    assert w.run() is Status.ROLLED_BACK
    assert w.failed <= BUDGET
    assert w.deployment.verdicts[-1].rule == "harmBudget"
    assert "a harm budget of 50: not even 1 %" in w.deployment.reason
    assert w.deployment.faulty
    assert w.weights[-1] == {5: 100}


def test_a_version_that_fails_late_costs_no_more_either() -> None:
    w = busy()
    while w.now < BEGIN + timedelta(minutes=5):
        w.later()
    high = w.shares[-1]
    w.failing = 0.5
    assert w.run() is Status.ROLLED_BACK
    assert w.failed <= BUDGET
    assert any(share < high for share in w.shares[:-1] if share), "its weight fell first"


def test_a_version_that_never_answers_is_told_by_the_version_beside_it() -> None:
    w = busy()
    while w.now < BEGIN + timedelta(minutes=5):
        w.later()
    w.answering = 0.0
    assert w.run() is Status.ROLLED_BACK
    assert "not answered" in w.deployment.reason


def test_the_guard_takes_a_version_back_long_before_the_budget_is_spent() -> None:
    w = busy(canary(rollback_on_error_rate=0.05), failing=1.0)
    assert w.run() is Status.ROLLED_BACK
    assert w.deployment.verdicts[-1].rule == "guard:rollbackOnErrorRate"
    assert w.failed < BUDGET / 2


def test_a_budget_that_the_rate_makes_too_small_fails_before_any_traffic_and_is_no_fault() -> None:
    w = busy(requests=50_000.0)
    assert w.run() is Status.FAILED
    assert w.weights == []
    assert not w.deployment.faulty
    assert "not even 1 % of" in w.deployment.reason


def test_a_pause_does_not_keep_the_budget_from_being_watched() -> None:
    w = busy()
    while w.now < BEGIN + timedelta(minutes=5):
        w.later()
    w.ask(Verb.PAUSE)
    w.later()
    assert w.deployment.status is Status.PAUSED
    w.failing = 0.5
    assert w.run() is Status.ROLLED_BACK
    assert "its weight stands at" in w.deployment.reason
    assert w.failed <= BUDGET


def test_a_promotion_gives_it_all_of_the_traffic() -> None:
    w = busy()
    while w.now < BEGIN + timedelta(minutes=2):
        w.later()
    w.ask(Verb.PROMOTE)
    assert w.run() is Status.SUCCEEDED
    assert w.now - BEGIN < timedelta(minutes=3)


def test_routers_that_tell_nothing_take_it_back() -> None:
    w = busy()
    while w.now < BEGIN + timedelta(minutes=5):
        w.later()
    w.counted = Uncounted("router r1 does not answer")
    assert w.run() is Status.ROLLED_BACK
    assert w.deployment.reason == "the harm budget cannot be watched: router r1 does not answer"
    assert not w.deployment.faulty


def test_what_nobody_invokes_waits_for_a_person() -> None:
    w = busy(requests=0.0)
    assert w.run() is Status.HELD
    assert "0 invocations in this phase, 20 are needed to judge" in w.deployment.reason


def test_users_who_stay_with_a_version_are_no_sign_of_what_it_has_not_answered() -> None:
    w = busy(answering=0.5)
    assert w.alias
    w.alias = replace(w.alias, sticky=Sticky(by="client"))
    assert w.run() is Status.SUCCEEDED


def test_every_verdict_of_a_budget_follows_from_its_receipt() -> None:
    w = busy(failing=0.02)
    receipts = []
    while w.later():
        receipts = w.receipts
    record = w.deployment
    assert {verdict.outcome for verdict in record.verdicts} >= {Outcome.PASS, Outcome.FAIL}
    assert faults(receipts or w.receipts, verdicts=record.verdicts, last=record.receipt) == []


def test_a_record_does_not_grow_for_ever() -> None:
    w = busy(failing=0.02)
    w.run()
    ramps = [step for step in w.deployment.plan if isinstance(step, Ramp)]
    assert len(ramps) <= 102
    assert all(not step.levels for step in ramps[:-1])


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"canary_increments": [10, 50]}, "canaryIncrements"),
        ({"canary_percentage": 10}, "canaryPercentage"),
        ({"preset": "standard"}, "preset"),
        ({"skip_analysis": True}, "skipAnalysis"),
        ({"preset": "standard", "skip_analysis": True}, "preset and skipAnalysis"),
    ],
)
def test_a_budget_and_fixed_increments_exclude_each_other(config: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid, match=f"config names both a harm budget and {named}"):
        strategies.plan(canary(**config), strategies.State(before({5: 100}), version(6), NODES))


@pytest.mark.parametrize("budget", ["0", "-1", "2.5", '"many"'])
def test_a_budget_is_a_number_of_invocations(budget: str) -> None:
    text = f'{{"functionName": "f", "version": 6, "strategy": "Canary", "config": {{"harmBudget": {budget}}}}}'
    with pytest.raises(Invalid, match="harmBudget"):
        requests.parse(text)
