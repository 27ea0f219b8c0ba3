"""A verdict can be given again from its receipt, and a receipt that was changed, left out or moved is found."""

from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller import transition
from controller.decide import decide
from hotswap.deployment import Event
from hotswap.judge.basis import Basis
from hotswap.judge.thresholds import judge
from hotswap.judge.verdict import Outcome
from hotswap.metrics import Count, Tally
from hotswap.receipt import Judged, Receipt, Rules, digest, faults, sealed
from hotswap.requests import Canary, CanaryConfig, Limits
from tests.controller_walk import BAD, BEGIN, World, world


@dataclass
class Recorded:
    """A world that keeps the events of what was decided."""

    world: World
    events: list[Event] = field(default_factory=list)

    def play(self) -> None:
        w = self.world
        known = transition.change

        def kept(*of: object) -> object:
            after, events = known(*of)  # type: ignore[arg-type]
            self.events += events
            return after, events

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transition, "change", kept)
            w.play()

    @property
    def receipts(self) -> list[Receipt]:
        return [event.receipt for event in self.events if event.receipt]

    def faults(self, receipts: list[Receipt]) -> list[str]:
        return faults(receipts, verdicts=self.world.deployment.verdicts, last=self.world.deployment.receipt)


def played(**options: object) -> Recorded:
    config = CanaryConfig(canary_increments=[10, 50], canary_duration=timedelta(minutes=1))
    found = Recorded(world(Canary(function_name="f", version=6, config=config), **options))
    found.play()
    return found


def basis(*, invocations: int, errors: int, limit: float = 0.05) -> Basis:
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.STATUS] = invocations - errors, errors
    limits = Limits(rollback_on_error_rate=limit)
    return Basis(version=6, step=2, at=BEGIN, tally=Tally(counts=counts), limits=limits)


def test_every_verdict_of_a_deployment_follows_from_its_receipt() -> None:
    found = played()
    assert [receipt.judged.verdict.outcome for receipt in found.receipts] == [Outcome.PASS] * 3
    assert found.faults(found.receipts) == []


def test_a_rollback_by_the_guard_follows_from_its_receipt() -> None:
    found = played(counted=BAD)
    [receipt] = found.receipts
    assert receipt.judged.rules is Rules.GUARD
    assert receipt.judged.verdict.outcome is Outcome.FAIL
    assert found.faults(found.receipts) == []


def test_a_receipt_outlives_the_wire() -> None:
    found = played()
    wire = msgspec.json.encode(found.receipts)
    assert found.faults(msgspec.json.decode(wire, type=list[Receipt])) == []


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_receipt_that_is_missing_is_found(left_out: int) -> None:
    found = played()
    assert found.faults([receipt for at, receipt in enumerate(found.receipts) if at != left_out])


def test_receipts_that_changed_places_are_found() -> None:
    found = played()
    first, second, third = found.receipts
    assert any("does not follow" in fault for fault in found.faults([second, first, third]))


def test_counts_that_were_changed_are_found_whether_or_not_the_hash_was_made_to_fit() -> None:
    found = played(counted=BAD)
    [receipt] = found.receipts
    better = replace(receipt.judged, basis=basis(invocations=1000, errors=0))
    forged = replace(receipt, judged=better)
    assert "receipt 1 is not what was sealed: its hash is another one" in found.faults([forged])
    fitted = replace(forged, hash=digest(forged))
    told = found.faults([fitted])
    assert "receipt 1 does not lead to its verdict: the rules say nothing" in told
    assert any("does not name the last receipt" in fault for fault in told)


def test_a_verdict_of_other_software_says_so_where_it_differs() -> None:
    before = basis(invocations=100, errors=4)
    verdict = replace(judge(before), outcome=Outcome.FAIL)
    old = replace(
        sealed(Judged(rules=Rules.LIMITS, basis=before, verdict=verdict), before=""), software="hotswap 0.0.1"
    )
    receipt = replace(old, hash=digest(old))
    [fault] = faults([receipt], verdicts=[verdict], last=receipt.hash)
    assert "the rules say PASS" in fault
    assert "it was given by hotswap 0.0.1" in fault


@given(st.integers(0, 5_000), st.floats(0, 1), st.floats(0, 1))
def test_whatever_was_counted_is_judged_alike_again(invocations: int, share: float, limit: float) -> None:
    given_on = basis(invocations=invocations, errors=int(invocations * share), limit=limit)
    receipt = sealed(Judged(rules=Rules.LIMITS, basis=given_on, verdict=judge(given_on)), before="")
    wire = msgspec.json.decode(msgspec.json.encode(receipt), type=Receipt)
    assert faults([wire], verdicts=[receipt.judged.verdict], last=receipt.hash) == []


def test_what_is_decided_is_the_verdict_that_is_sealed() -> None:
    w = world(counted=BAD)
    while not w.deployment.verdicts:
        w.turn()
    assert decide(w.deployment, w.observation(), w.now)
    assert w.deployment.receipt
