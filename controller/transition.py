"""What a decision makes of the record and of the alias, and the events that tell of it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from controller import steps
from controller.decision import Advance, Change, Extend, Finish, Freeze, GoBack, Hold, Resume
from hotswap.deployment import Ask, Deployment, Event, Shift, Status, Verdict
from hotswap.model import FULL_WEIGHT, WEIGHT_HISTORY, Alias, Sticky, WeightChange, Weights


@dataclass(frozen=True, slots=True)
class News:
    """An event before it has its number."""

    kind: str
    text: str
    figures: dict[str, float] | None = None


def change(deployment: Deployment, decision: Change, now: datetime) -> tuple[Deployment, list[Event]]:
    after, news = _changed(deployment, decision, now)
    verdict = None if isinstance(decision, Resume | Freeze) else decision.verdict
    if verdict:
        after = replace(after, verdicts=[*after.verdicts, verdict])
        news = [_of_verdict(verdict), *news]
    return told(after, news, now)


def told(deployment: Deployment, news: list[News], now: datetime) -> tuple[Deployment, list[Event]]:
    """The events, numbered, and the deployment that has counted them."""
    events = [
        Event(deployment=deployment.id, number=number, at=now, kind=one.kind, text=one.text, figures=one.figures or {})
        for number, one in enumerate(news, deployment.events + 1)
    ]
    return replace(deployment, events=deployment.events + len(events)), events


def begun(deployment: Deployment, now: datetime) -> tuple[Deployment, list[Event]]:
    request = deployment.request
    what = (
        f'{type(request).__name__} of version {request.version} to alias "{request.alias}" of "{request.function_name}"'
    )
    return told(deployment, [News("started", what), _entered(deployment)], now)


def asked(deployment: Deployment, ask: Ask) -> tuple[Deployment, list[Event]]:
    why = f": {ask.why}" if ask.why else ""
    news = [News("asked", f"{ask.who or 'someone'} asked to {ask.verb}{why}")]
    return told(replace(deployment, asked=ask), news, ask.at)


def reopened(deployment: Deployment, ask: Ask) -> tuple[Deployment, list[Event]]:
    """A deployment that has succeeded goes back, by the way that was planned when it began."""
    reason = f"{ask.verb} by {ask.who or 'someone'}" + (f": {ask.why}" if ask.why else "")
    after = replace(
        deployment,
        status=Status.ROLLING_BACK,
        progress=steps.enter(deployment.way_back, 0, ask.at, attempt=deployment.progress.attempt + 1),
        finished=None,
        reason=reason,
        asked=ask,
    )
    return told(after, [News("rollback", f"goes back: {reason}"), _entered(after)], ask.at)


def shifted(before: Alias | None, step: Shift, deployment: Deployment, now: datetime) -> Alias:
    """The alias with the weights of the step. What the way back gives all traffic to is the last good version."""
    alias = before or Alias(function=deployment.function, name=deployment.alias, weights=step.weights)
    why = deployment.reason or deployment.request.reason or f"deployment {deployment.id}"
    entry = WeightChange(weights=step.weights, at=now, who=deployment.who, why=why)
    back = steps.goes_back(deployment.status)
    return replace(
        alias,
        weights=step.weights,
        sticky=_salted(alias.sticky, deployment),
        latency_limit=step.latency_limit,
        last_good=_with_all(step.weights) or alias.last_good if back else alias.last_good,
        owner=deployment.id,
        step=steps.key(deployment),
        history=[*alias.history, entry][-WEIGHT_HISTORY:],
    )


def settled(alias: Alias) -> Alias:
    """After a success: what has all of the traffic is what to go back to, and nothing is counted for it any more."""
    return replace(alias, last_good=_with_all(alias.weights) or alias.last_good, latency_limit=None)


def _with_all(weights: Weights) -> int | None:
    return next((version for version, weight in weights.items() if weight == FULL_WEIGHT), None)


def _salted(sticky: Sticky | None, deployment: Deployment) -> Sticky | None:
    """A new salt for each deployment, so that the same users are not always the first."""
    return replace(sticky, salt=deployment.id) if sticky else None


def _changed(deployment: Deployment, decision: Change, now: datetime) -> tuple[Deployment, list[News]]:
    match decision:
        case Extend():
            return deployment, []
        case Advance():
            return _advanced(deployment, decision, now)
        case GoBack(index=index, reason=reason):
            progress = steps.enter(deployment.way_back, index, now, attempt=deployment.progress.attempt)
            after = replace(deployment, status=Status.ROLLING_BACK, progress=progress, reason=reason)
            return after, [News("rollback", f"goes back: {reason}"), _entered(after)]
        case Hold(reason=reason, until=until):
            progress = replace(deployment.progress, deadline=until)
            after = replace(deployment, status=Status.HELD, progress=progress, reason=reason, asked=None)
            return after, [News("held", reason)]
        case Resume():
            return _resumed(deployment, decision, now)
        case Freeze(reason=reason):
            after = replace(deployment, status=Status.FROZEN, reason=reason, asked=None)
            return after, [News("failed", f"frozen: {reason}")]
        case Finish(status=status, reason=reason, note=note):
            after = replace(deployment, status=status, reason=reason, finished=now)
            text = f"{status}: {reason}" if reason else str(status)
            return after, [*_noted(note), News("failed" if status is Status.FAILED else "finished", text)]
        case _:
            assert_never(decision)


def _advanced(deployment: Deployment, decision: Advance, now: datetime) -> tuple[Deployment, list[News]]:
    before = deployment.progress
    progress = steps.enter(
        deployment.steps,
        before.index + 1,
        now,
        attempt=before.attempt,
        weights_revision=decision.weights_revision,
    )
    if before.overrules and not isinstance(steps.present(deployment), Shift):
        progress = replace(progress, overrules=True)
    status, asked_for = deployment.status, deployment.asked
    if status is Status.HELD:
        status, asked_for = Status.RUNNING, None
    reason = deployment.reason if status is Status.ROLLING_BACK else ""
    after = replace(deployment, status=status, progress=progress, reason=reason, asked=asked_for)
    return after, [*_noted(decision.note), _entered(after)]


def _resumed(deployment: Deployment, decision: Resume, now: datetime) -> tuple[Deployment, list[News]]:
    status = Status.ROLLING_BACK if deployment.status is Status.FROZEN else Status.RUNNING
    attempt = deployment.progress.attempt + 1
    reason = deployment.reason if status is Status.ROLLING_BACK else ""
    progress = steps.enter(deployment.steps, decision.index, now, attempt=attempt)
    progress = replace(progress, overrules=decision.overrules)
    after = replace(deployment, status=status, progress=progress, reason=reason, asked=None)
    return after, [_entered(after)]


def _entered(deployment: Deployment) -> News:
    number = deployment.progress.index + 1
    step = steps.present(deployment)
    return News("step", f"step {number} of {len(deployment.steps)}: {steps.describe(step)}")


def _of_verdict(verdict: Verdict) -> News:
    warnings = "".join(f"; {warning}" for warning in verdict.warnings)
    figures = {"invocations": float(verdict.invocations), "errors": float(verdict.errors)}
    return News("verdict", f"{verdict.outcome}: {verdict.text}{warnings}", figures)


def _noted(note: str) -> list[News]:
    return [News("step", note)] if note else []
