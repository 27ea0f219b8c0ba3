"""What a decision makes of the record, and the events that tell of it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

import msgspec
from msgspec.structs import replace

from controller import steps
from controller.decision import (
    Advance,
    Change,
    Compared,
    Crown,
    Extend,
    Finish,
    Freeze,
    GoBack,
    Hasten,
    Hold,
    LeaveOut,
    Pause,
    Remind,
    Resume,
    Reweigh,
    Unpause,
)
from controller.turning import hold
from hotswap.comparison import Comparison
from hotswap.comparison import decision as compared
from hotswap.deployment import (
    Ask,
    AwaitPromotion,
    Deployment,
    Event,
    HoldingStep,
    Ramp,
    Retire,
    Shift,
    Start,
    Status,
    Verb,
)
from hotswap.errors import Refused
from hotswap.receipt import Receipt, sealed

GRANTED = frozenset({Verb.PROMOTE, Verb.RESUME, Verb.RETRY})
"""What is done when the deployment goes on. To abort and to roll back is done at the end of the way back only."""


OVERRIDABLE = frozenset({Status.RUNNING, Status.PAUSED, Status.AWAITING_PROMOTION, Status.HELD})
"""What a person's own weights may interrupt. One that goes back is not kept from that."""


JUDGED = Extend | Advance | Reweigh | LeaveOut | GoBack | Hold | Finish
"""What may follow from a verdict."""


@dataclass(frozen=True, slots=True)
class News:
    """An event before it has its number."""

    kind: str
    text: str
    figures: dict[str, float] | None = None
    receipt: Receipt | None = None


def change(deployment: Deployment, decision: Change, now: datetime) -> tuple[Deployment, list[Event]]:
    after, news = _changed(deployment, decision, now)
    judged = decision.judged if isinstance(decision, JUDGED) else None
    if judged:
        receipt = sealed(judged, before=after.receipt)
        after = replace(after, verdicts=[*after.verdicts, judged.verdict], receipt=receipt.hash)
        news = [_of_verdict(receipt), *news]
    return told(after, news, now)


def told(deployment: Deployment, news: list[News], now: datetime) -> tuple[Deployment, list[Event]]:
    """The events, numbered, and the deployment that has counted them."""
    events = [
        Event(
            deployment=deployment.id,
            number=number,
            at=now,
            kind=one.kind,
            text=one.text,
            figures=one.figures or {},
            receipt=one.receipt,
        )
        for number, one in enumerate(news, deployment.events + 1)
    ]
    return replace(deployment, events=deployment.events + len(events)), events


def queued(deployment: Deployment, now: datetime) -> tuple[Deployment, list[Event]]:
    return told(deployment, [News("queued", f"{_what(deployment)} waits until the alias is free")], now)


def begun(deployment: Deployment, now: datetime) -> tuple[Deployment, list[Event]]:
    return told(deployment, [News("started", _what(deployment)), _entered(deployment)], now)


def _what(deployment: Deployment) -> str:
    request = deployment.request
    again = f", again after {deployment.retry_of}" if deployment.retry_of else ""
    strategy = type(request).__name__
    return f'{strategy} of version {request.version} to alias "{request.alias}" of "{request.function_name}"{again}'


def _wish(ask: Ask) -> str:
    """`promote version 2`, `retry from step 3`."""
    match ask:
        case Ask(winner=int(winner)):
            return f"{ask.verb} version {winner}"
        case Ask(full=True):
            return f"{ask.verb} in full"
        case Ask(adopt=True):
            return f"{ask.verb} with the weights that the alias has"
        case Ask(step=int(number)):
            return f"{ask.verb} from step {number}"
        case _:
            return str(ask.verb)


def asked(deployment: Deployment, ask: Ask) -> tuple[Deployment, list[Event]]:
    why = f": {ask.why}" if ask.why else ""
    news = [News("asked", f"{ask.who or 'someone'} asked to {_wish(ask)}{why}")]
    return told(replace(deployment, asked=ask), news, ask.at)


def overridden(deployment: Deployment, *, who: str, why: str, now: datetime) -> tuple[Deployment, list[Event]]:
    """A deployment whose alias a person gives other weights stands still until somebody decides about it."""
    if deployment.status not in OVERRIDABLE:
        raise Refused(
            f"deployment {deployment.id} is {deployment.status}: its alias cannot be given other weights now",
            hint=f"follow it with `hotswap get deployment {deployment.id} -w`",
        )
    told_why = f": {why}" if why else ""
    held = hold(deployment, now, f"{who or 'someone'} gave the alias other weights{told_why}")
    after, news = _stopped(deployment, held)
    return told(after, news, now)


def reopened(deployment: Deployment, ask: Ask) -> tuple[Deployment, list[Event]]:
    """A deployment that has succeeded goes back, by the way that was planned when it began."""
    reason = f"{ask.verb} by {ask.who or 'someone'}" + (f": {ask.why}" if ask.why else "")
    after = replace(
        deployment,
        status=Status.ROLLING_BACK,
        progress=steps.enter(deployment.way_back, 0, ask.at, attempt=deployment.progress.attempt + 1),
        reached=deployment.progress.index,
        turned=0,
        finished=None,
        reason=reason,
        asked=ask,
    )
    return told(after, [News("rollback", f"goes back: {reason}"), _entered(after)], ask.at)


def _changed(deployment: Deployment, decision: Change, now: datetime) -> tuple[Deployment, list[News]]:
    match decision:
        case Extend():
            return deployment, []
        case Advance():
            return _advanced(deployment, decision, now)
        case Reweigh():
            return _reweighed(deployment, decision, now)
        case LeaveOut():
            return _left_out(deployment, decision, now)
        case GoBack():
            return _turned(deployment, decision, now)
        case Hold() | Freeze():
            return _stopped(deployment, decision)
        case Pause(until=until):
            progress = replace(deployment.progress, deadline=until)
            after = replace(deployment, status=Status.PAUSED, progress=progress, paused=now, asked=None)
            return after, [News("paused", "stands still; its traffic stays as it is, and is judged")]
        case Unpause():
            return _unpaused(deployment, now)
        case Hasten():
            return _hastened(deployment, decision, now)
        case Compared(comparison=comparison):
            return _compared(deployment, comparison)
        case Crown():
            return _crowned(deployment, decision, now)
        case Resume():
            return _resumed(deployment, decision, now)
        case Remind(until=until):
            progress = replace(deployment.progress, deadline=until)
            return replace(deployment, progress=progress), [News("failed", f"still frozen: {deployment.reason}")]
        case Finish(status=status, reason=reason, note=note):
            faulty = deployment.faulty or decision.faulty
            after = replace(deployment, status=status, reason=reason, finished=now, faulty=faulty)
            text = f"{status}: {reason}" if reason else str(status)
            return after, [*_noted(note), News("failed" if status is Status.FAILED else "finished", text)]
        case _:
            assert_never(decision)


def _stopped(deployment: Deployment, decision: Hold | Freeze) -> tuple[Deployment, list[News]]:
    """It stands until a person decides."""
    progress = replace(deployment.progress, deadline=decision.until)
    after = replace(deployment, progress=progress, reason=decision.reason, asked=None, paused=None)
    if isinstance(decision, Freeze):
        return replace(after, status=Status.FROZEN), [News("failed", f"frozen: {decision.reason}")]
    faulty = deployment.faulty or decision.faulty
    return replace(after, status=Status.HELD, faulty=faulty), [News("held", decision.reason)]


def _turned(deployment: Deployment, decision: GoBack, now: datetime) -> tuple[Deployment, list[News]]:
    before = deployment.progress
    after = replace(
        deployment,
        status=Status.ROLLING_BACK,
        progress=steps.enter(deployment.way_back, decision.index, now, attempt=before.attempt),
        reached=before.index,
        turned=decision.index,
        reason=decision.reason,
        faulty=deployment.faulty or decision.faulty,
        paused=None,
    )
    return after, [News("rollback", f"goes back: {decision.reason}"), _entered(after)]


def _advanced(deployment: Deployment, decision: Advance, now: datetime) -> tuple[Deployment, list[News]]:
    before = deployment.progress
    after = _onward(deployment, before.index + 1, now, weights_revision=decision.weights_revision)
    step = steps.present(deployment)
    if isinstance(step, Shift) and step.without and not steps.goes_back(deployment.status):
        after = replace(after, traffic_since=decision.weights_revision)
    if before.overrules and not isinstance(steps.present(deployment), Shift):
        after = replace(after, progress=replace(after.progress, overrules=True))
    return after, [*_noted(decision.note), _entered(after)]


def _reweighed(deployment: Deployment, decision: Reweigh, now: datetime) -> tuple[Deployment, list[News]]:
    """Levels are told by the step that holds now alone, however many there were."""
    index, plan = deployment.progress.index, deployment.plan
    present = plan[index]
    over = replace(present, levels={}) if isinstance(present, Ramp) else present
    after = replace(deployment, plan=[*plan[:index], over, decision.shift, decision.ramp, *plan[index + 1 :]])
    after = _onward(after, index + 1, now, weights_revision=decision.weights_revision)
    return after, [_entered(after)]


def _left_out(deployment: Deployment, decision: LeaveOut, now: datetime) -> tuple[Deployment, list[News]]:
    """The version goes from the node, is given the same weights anew, by which its count begins anew, and has the phase
    once more."""
    index, plan, version = deployment.progress.index, deployment.plan, decision.version
    last = steps.last_shift(deployment, before=index)
    assert last is not None, "nothing is judged that has no traffic"
    shift = plan[last]
    assert isinstance(shift, Shift)
    again = replace(shift, without={version: [decision.node]}, sticky=msgspec.UNSET)
    retire = Retire(version=version, nodes=[decision.node])
    after = replace(deployment, plan=[*plan[: index + 1], retire, again, *plan[index:]])
    back = f"`hotswap alias set` for {deployment.function}:{deployment.alias} brings it back"
    text = f"node {decision.node} is taken out for version {version}, which goes on without it; {back}"
    after = _onward(after, index + 1, now, weights_revision=0)
    return after, [News("node", text), _entered(after)]


def _onward(deployment: Deployment, index: int, now: datetime, *, weights_revision: int) -> Deployment:
    """At a step of the way that it goes; what was asked for and is granted by this is asked no more."""
    progress = steps.enter(
        deployment.steps, index, now, attempt=deployment.progress.attempt, weights_revision=weights_revision
    )
    if deployment.status is Status.ROLLING_BACK:
        return replace(deployment, progress=progress)
    granted = deployment.asked is not None and deployment.asked.verb in GRANTED
    return replace(
        deployment,
        status=Status.RUNNING,
        progress=progress,
        traffic_since=deployment.traffic_since or weights_revision if _has_shifted(deployment, index) else 0,
        reason="",
        asked=None if granted else deployment.asked,
        paused=None,
    )


def _has_shifted(deployment: Deployment, index: int) -> bool:
    return any(isinstance(step, Shift) for step in deployment.plan[:index])


def _compared(deployment: Deployment, comparison: Comparison | None) -> tuple[Deployment, list[News]]:
    """Only now is a person called for, who has the comparison to decide by; an automatic promotion needs nobody."""
    step = steps.present(deployment)
    automatic = isinstance(step, AwaitPromotion) and step.automatic and comparison and comparison.winner
    status = deployment.status if automatic else Status.AWAITING_PROMOTION
    told = (
        compared(comparison) if comparison else "the test cannot be compared: the routers do not tell what they count"
    )
    return replace(deployment, comparison=comparison, status=status), [News("compared", told)]


def _unpaused(deployment: Deployment, now: datetime) -> tuple[Deployment, list[News]]:
    """The deadline is again what it was when the step was entered, put off by the pause."""
    progress = steps.later(deployment.progress, now - (deployment.paused or now))
    step = steps.present(deployment)
    progress = replace(progress, deadline=progress.entered + steps.limit(step))
    waits = isinstance(step, AwaitPromotion) and deployment.comparison is not None
    status = Status.AWAITING_PROMOTION if waits else Status.RUNNING
    after = replace(deployment, status=status, progress=progress, paused=None, asked=None, reason="")
    return after, [News("step", f"goes on with step {progress.index + 1} of {len(deployment.steps)}")]


def _hastened(deployment: Deployment, decision: Hasten, now: datetime) -> tuple[Deployment, list[News]]:
    index = deployment.progress.index
    after = replace(deployment, plan=steps.hastened(deployment.plan, index), asked=None)
    news = [News("step", f"{decision.note}; what is left is done without waiting")]
    if isinstance(steps.present(deployment), HoldingStep):
        after = _onward(after, index + 1, now, weights_revision=decision.weights_revision)
        return after, [*news, _entered(after)]
    if deployment.paused:
        after, more = _unpaused(after, now)
        return after, [*news, *more]
    return replace(after, status=Status.RUNNING, reason=""), news


def _crowned(deployment: Deployment, decision: Crown, now: datetime) -> tuple[Deployment, list[News]]:
    index = deployment.progress.index
    plan = [*deployment.plan[: index + 1], *steps.crowning(deployment.plan[index:], decision.winner)]
    after = _onward(replace(deployment, plan=plan, asked=None), index + 1, now, weights_revision=0)
    return after, [News("step", f"version {decision.winner} wins: {decision.note}"), _entered(after)]


def _resumed(deployment: Deployment, decision: Resume, now: datetime) -> tuple[Deployment, list[News]]:
    back = deployment.status is Status.FROZEN
    index, plan = decision.index, deployment.plan
    if decision.weights is not None and isinstance(step := plan[index], Shift):
        plan = [*plan[:index], replace(step, weights=decision.weights), *plan[index + 1 :]]
    plan = [*plan[:index], *(Start(version=version) for version in decision.first), *plan[index:]]
    way = deployment.way_back if back else plan
    progress = steps.enter(way, index, now, attempt=deployment.progress.attempt + 1)
    progress = replace(progress, overrules=decision.overrules)
    after = replace(
        deployment,
        status=Status.ROLLING_BACK if back else Status.RUNNING,
        plan=plan,
        progress=progress,
        comparison=deployment.comparison if back else None,
        turned=min(deployment.turned, index) if back else deployment.turned,
        reason=deployment.reason if back else "",
        asked=None,
    )
    return after, [*_noted(decision.note), _entered(after)]


def _entered(deployment: Deployment) -> News:
    number = deployment.progress.index + 1
    step = steps.present(deployment)
    return News("step", f"step {number} of {len(deployment.steps)}: {steps.describe(step)}")


def _of_verdict(receipt: Receipt) -> News:
    verdict = receipt.judged.verdict
    warnings = "".join(f"; {warning}" for warning in verdict.warnings)
    figures = {"invocations": float(verdict.invocations), "errors": float(verdict.errors)}
    return News("verdict", f"{verdict.outcome}: {verdict.text}{warnings}", figures, receipt)


def _noted(note: str) -> list[News]:
    return [News("step", note)] if note else []
