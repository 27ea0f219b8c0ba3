"""What to do next about a deployment: a pure function of the record, of what was observed, and of the time.

`decide` says it, `controller.transition` turns it into the next record, and `controller.watcher` carries it out. Each
status and each step has a deadline, and each of them an exit:

    Running      step by step -> Succeeded; a breach, a failure or a verb -> RollingBack; nothing moved yet -> Failed
    Held         a person promotes, rolls back or aborts; after `HELD_LIMIT` it goes back by itself
    RollingBack  the way back, step by step -> RolledBack or Aborted; a failure -> Frozen
    Frozen       a person: rollback tries the way back again, abort leaves everything as it stands

A deadline that passed while no controller watched does not count before this one has watched for `GRACE`: what was
due may have happened, and routers and agents need a moment to tell.
"""

from datetime import datetime, timedelta
from typing import assert_never

from controller import steps, traffic
from controller.decision import (
    Act,
    Advance,
    Broke,
    Decision,
    Extend,
    Finish,
    Freeze,
    GoBack,
    Hold,
    Observation,
    Pending,
    Resume,
    Shows,
    Uncounted,
    Wait,
)
from controller.judge.thresholds import judge
from hotswap.deployment import Bake, Deployment, Outcome, Retire, Shift, Start, Status, Verb, Verdict
from hotswap.requests import OnInsufficientData

GRACE = timedelta(seconds=30)
HELD_LIMIT = timedelta(hours=24)
RECHECK = timedelta(seconds=1)
"""How often a phase that is over is judged again, until its sample says something."""


def decide(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    match deployment.status:
        case Status.RUNNING:
            return _running(deployment, observation, now)
        case Status.ROLLING_BACK:
            if found := traffic.difference(deployment, observation):
                return Freeze(f"{found}; {_ways_out(deployment, 'rollback', 'abort')}")
            return _step(deployment, observation, now)
        case Status.HELD:
            return _held(deployment, observation, now)
        case Status.FROZEN:
            return _frozen(deployment)
        case Status.SUCCEEDED | Status.ROLLED_BACK | Status.FAILED | Status.ABORTED:
            return Wait(None)
        case _:
            assert_never(deployment.status)


def _running(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    if asked := _asked(deployment, Verb.ROLLBACK, Verb.ABORT):
        return _back(deployment, observation, now, reason=asked)
    if found := traffic.difference(deployment, observation):
        return _hold(deployment, now, found)
    return _step(deployment, observation, now)


def _held(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    if asked := _asked(deployment, Verb.ROLLBACK, Verb.ABORT):
        return _back(deployment, observation, now, reason=asked)
    found = traffic.difference(deployment, observation)
    if asked := _asked(deployment, Verb.PROMOTE):
        return _promote(deployment, observation, asked, changed=found is not None)
    if now < deployment.progress.deadline:
        return Wait(deployment.progress.deadline)
    unasked = f"nobody decided within {steps.duration(HELD_LIMIT)}"
    if found or not deployment.way_back:
        return Finish(Status.ABORTED, f"{unasked}; the alias was left as it stands")
    return _back(deployment, observation, now, reason=unasked)


def _promote(deployment: Deployment, observation: Observation, asked: str, *, changed: bool) -> Decision:
    """On past the hold: what somebody else changed is set again, a phase that told too little counts as passed."""
    index = deployment.progress.index
    if changed:
        last = steps.last_shift(deployment, before=index + 1)
        return Resume(index if last is None else last, overrules=True)
    if isinstance(steps.present(deployment), Bake):
        return _onward(deployment, observation, note=asked)
    return Resume(index)


def _frozen(deployment: Deployment) -> Decision:
    if _asked(deployment, Verb.ROLLBACK, Verb.PROMOTE):
        return Resume(0)
    if asked := _asked(deployment, Verb.ABORT):
        return Finish(Status.ABORTED, f"{asked}; the alias was left as it stands")
    return Wait(None)


def _step(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    step = steps.present(deployment)
    match step:
        case Bake():
            return _bake(step, deployment, observation, now)
        case Start() | Shift() | Retire():
            return _effect(step, deployment, observation, now)
        case _:
            assert_never(step)


def _effect(step: Start | Shift | Retire, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    due = _due(deployment, observation)
    if isinstance(observation.seen, Pending) and not traffic.written(deployment, observation.alias):
        return Act(step) if now < due else _late(step, deployment, observation, now)
    match observation.seen:
        case Shows():
            return _onward(deployment, observation)
        case Broke(why=why):
            return _failed(deployment, observation, now, why)
        case Pending() if now < due:
            return Wait(due)
        case Pending():
            return _late(step, deployment, observation, now)
        case _:
            assert_never(observation.seen)


def _late(step: Start | Shift | Retire, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    limit = steps.duration(steps.limit(step))
    match step:
        case Start():
            why = f"version {step.version} was not ready on every node within {limit}"
            return _failed(deployment, observation, now, why)
        case Shift():
            why = f"not every router took {steps.shares(step.weights)} within {limit}"
            return _failed(deployment, observation, now, why)
        case Retire():
            note = f"version {step.version} is still withdrawn by its nodes after {limit}; the rest needs no waiting"
            return _onward(deployment, observation, note=note)
        case _:
            assert_never(step)


def _bake(step: Bake, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    progress = deployment.progress
    ends = (progress.observed or progress.entered) + step.duration
    if now < ends:
        return Wait(ends)
    due = _due(deployment, observation)
    if isinstance(observation.counted, Uncounted):
        if now < due:
            return Wait(min(due, now + RECHECK))
        return _hold(deployment, now, f"version {step.version} cannot be judged: {observation.counted.why}")
    counted_limit = observation.alias.latency_limit if observation.alias else None
    verdict = judge(observation.counted, step.limits, counted_limit=counted_limit, step=progress.index, at=now)
    match verdict.outcome:
        case Outcome.PASS:
            return _onward(deployment, observation, verdict=verdict)
        case Outcome.FAIL:
            return _back(deployment, observation, now, reason=verdict.text, verdict=verdict)
        case Outcome.INSUFFICIENT:
            return _insufficient(step, deployment, observation, now, verdict=verdict)
        case _:
            assert_never(verdict.outcome)


def _insufficient(
    step: Bake, deployment: Deployment, observation: Observation, now: datetime, *, verdict: Verdict
) -> Decision:
    match step.limits.on_insufficient_data:
        case OnInsufficientData.ADVANCE:
            return _onward(deployment, observation, verdict=verdict)
        case OnInsufficientData.ROLLBACK:
            return _back(deployment, observation, now, reason=verdict.text, verdict=verdict)
        case OnInsufficientData.HOLD:
            due = _due(deployment, observation)
            if now >= due:
                return _hold(deployment, now, verdict.text, verdict=verdict)
            told = any(
                earlier.step == verdict.step and earlier.outcome is Outcome.INSUFFICIENT
                for earlier in deployment.verdicts
            )
            return Wait(min(due, now + RECHECK)) if told else Extend(verdict)
        case _:
            assert_never(step.limits.on_insufficient_data)


def _onward(
    deployment: Deployment, observation: Observation, *, verdict: Verdict | None = None, note: str = ""
) -> Decision:
    if deployment.progress.index + 1 < len(deployment.steps):
        return Advance(verdict, note, observation.alias_revision)
    if deployment.status is not Status.ROLLING_BACK:
        return Finish(Status.SUCCEEDED, verdict=verdict, note=note)
    aborted = _asked(deployment, Verb.ABORT) is not None
    return Finish(Status.ABORTED if aborted else Status.ROLLED_BACK, deployment.reason, note=note)


def _failed(deployment: Deployment, observation: Observation, now: datetime, why: str) -> Decision:
    if deployment.status is Status.ROLLING_BACK:
        return Freeze(f"the way back failed: {why}; {_ways_out(deployment, 'rollback', 'abort')}")
    return _back(deployment, observation, now, reason=why)


def _back(
    deployment: Deployment, observation: Observation, now: datetime, *, reason: str, verdict: Verdict | None = None
) -> Decision:
    if not traffic.moved(deployment, observation):
        return Finish(_unmoved(deployment), reason, verdict)
    if not deployment.way_back:
        if _asked(deployment, Verb.ROLLBACK, Verb.ABORT):
            return Finish(Status.ABORTED, f"{reason}; the alias stays: there is no version to go back to")
        return _hold(deployment, now, f"{reason}, and there is no version to go back to", verdict=verdict)
    return GoBack(_first_needed(deployment, observation), reason, verdict)


def _unmoved(deployment: Deployment) -> Status:
    match deployment.asked.verb if deployment.asked else None:
        case Verb.ROLLBACK:
            return Status.ROLLED_BACK
        case Verb.ABORT:
            return Status.ABORTED
        case _:
            return Status.FAILED


def _first_needed(deployment: Deployment, observation: Observation) -> int:
    for index, step in enumerate(deployment.way_back):
        if not (isinstance(step, Start) and step.version in observation.serving & steps.kept(deployment)):
            return index
    return 0


def _hold(deployment: Deployment, now: datetime, why: str, *, verdict: Verdict | None = None) -> Hold:
    return Hold(f"{why}; {_ways_out(deployment, 'promote', 'rollback')}", now + HELD_LIMIT, verdict)


def _ways_out(deployment: Deployment, *verbs: str) -> str:
    return "decide with " + " or ".join(f"`hotswap {verb} {deployment.id}`" for verb in verbs)


def _asked(deployment: Deployment, *verbs: Verb) -> str | None:
    """Who asked for one of the verbs, and why, as a reason."""
    asked = deployment.asked
    if asked is None or asked.verb not in verbs:
        return None
    return f"{asked.verb} by {asked.who or 'someone'}" + (f": {asked.why}" if asked.why else "")


def _due(deployment: Deployment, observation: Observation) -> datetime:
    return max(deployment.progress.deadline, observation.watched + GRACE)
