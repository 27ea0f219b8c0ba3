"""What another policy would have made of a deployment, by the counts that its receipts have kept. Pure.

A receipt has the counts at the time of its verdict, so a replay looks when the deployment was judged and not in
between: a guard that is stricter may have gone back sooner than is told here, never later. What was not recorded is not
guessed: a deployment that went back has no counts of what it would have become.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import log

from msgspec.structs import replace

from hotswap.judge.basis import Basis, Epoch
from hotswap.judge.guard import FALSE_PASSES, evidence_against_stable, evidence_over, evidence_within, watch
from hotswap.judge.power import limits_of
from hotswap.judge.thresholds import judge
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.judge.wording import percent
from hotswap.metrics import Tally
from hotswap.model import Model
from hotswap.receipt import Receipt, Rules
from hotswap.requests import Limits

ENOUGH = -log(FALSE_PASSES)
"""ln of the evidence with which something is said of a version in the end."""


class Truth(StrEnum):
    """What all that was recorded says of the version, by the limits of the policy."""

    WORSE = "worse"
    """It breaks a limit, beyond reasonable doubt."""
    WITHIN = "within"
    """It keeps them all, as surely."""
    UNKNOWN = "unknown"
    """There is too little to say."""


class End(Model, frozen=True, kw_only=True):
    """Where a deployment was, or would have been, taken back."""

    at: datetime
    rule: str
    text: str
    errors: int
    """Of the version until then."""


class Replayed(Model, frozen=True, kw_only=True):
    deployment: str
    version: int | None
    was: End | None
    """How it was taken back; `None` where no verdict failed."""
    would: End | None
    """How it would have been."""
    truth: Truth
    told: str
    """The whole of it, for people."""
    looks: int
    """How many counts there are to look at."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was known when a verdict was given."""

    phase: Basis | None
    """Of a phase that was over."""
    whole: Basis
    """Of all that the version had answered."""


def replay(deployment: str, receipts: Sequence[Receipt], policy: Limits) -> Replayed:
    found = looks(receipts)
    was = next((receipt.judged for receipt in receipts if receipt.judged.verdict.outcome is Outcome.FAIL), None)
    would = next((end for look in found if (end := _ended(look, policy))), None)
    truth = _truth(found[-1].whole, policy) if found else Truth.UNKNOWN
    ended = _end(was.verdict, was.verdict.errors) if was else None
    return Replayed(
        deployment=deployment,
        version=found[-1].whole.version if found else None,
        was=ended,
        would=would,
        truth=truth,
        told=_told(ended, would, truth, found),
        looks=len(found),
    )


def looks(receipts: Sequence[Receipt]) -> list[Look]:
    """Phases add up; a later verdict of the same phase has all of it, and a guard's has everything."""
    found: list[Look] = []
    phases: dict[tuple[int, int], Basis] = {}
    for receipt in receipts:
        basis = receipt.judged.basis
        if receipt.judged.rules is not Rules.LIMITS:
            found.append(Look(None, basis))
            continue
        phases[basis.version, basis.step] = basis
        mine = [phase for (version, _), phase in phases.items() if version == basis.version]
        found.append(Look(basis, _added(mine, basis)))
    return found


def _added(phases: Sequence[Basis], last: Basis) -> Basis:
    epochs: list[Epoch] | None = [epoch for phase in phases for epoch in phase.epochs or ()]
    return replace(last, tally=Tally.total([phase.tally.counts for phase in phases]), epochs=epochs or None)


def _ended(look: Look, policy: Limits) -> End | None:
    """The limits are judged as they were; the guard, which they are asked after, by all there is."""
    if verdict := watch(replace(look.whole, limits=policy)):
        return _end(verdict, look.whole.tally.errors)
    if look.phase is None:
        return None
    verdict = judge(replace(look.phase, limits=policy))
    return _end(verdict, look.whole.tally.errors) if verdict.outcome is Outcome.FAIL else None


def _end(verdict: Verdict, errors: int) -> End:
    return End(at=verdict.at, rule=verdict.rule, text=verdict.text, errors=errors)


def _truth(whole: Basis, policy: Limits) -> Truth:
    """Of failures alone: how fast it should be is not known to more than one limit."""
    tally, ratio = whole.tally, policy.rollback_on_error_ratio
    shared = [epoch for epoch in whole.epochs or () if epoch.shared]
    against = evidence_against_stable(shared, ratio) if ratio is not None and shared else 0.0
    limits = limits_of(policy)
    over = max((evidence_over(tally.errors, tally.invocations, tau) for tau in limits), default=0.0)
    if max(over, against) >= ENOUGH:
        return Truth.WORSE
    within = min((evidence_within(tally.errors, tally.invocations, tau) for tau in limits), default=ENOUGH)
    return Truth.WITHIN if tally.invocations and within >= ENOUGH and against <= 0 else Truth.UNKNOWN


def _told(was: End | None, would: End | None, truth: Truth, found: Sequence[Look]) -> str:
    if not found:
        return "it has no verdict, and so no counts to replay"
    tally = found[-1].whole.tally
    in_all = f"{percent(tally.error_rate or 0)} of {tally.invocations} failed in all"
    if would is None:
        missed = {
            Truth.WORSE: f"it would have gone on, wrongly: {in_all}",
            Truth.WITHIN: f"it would have gone on, rightly: {in_all}",
            Truth.UNKNOWN: f"it would have gone on; whether rightly cannot be told: {in_all}",
        }[truth]
        return f"{missed}, as far as it is recorded" if was else missed
    judged = {Truth.WORSE: "rightly", Truth.WITHIN: "wrongly", Truth.UNKNOWN: "whether rightly cannot be told"}[truth]
    spared = tally.errors - would.errors
    fewer = f", {spared} failures sooner" if spared else ""
    return f"it would have gone back{fewer}, {judged}: {in_all}"
