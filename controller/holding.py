"""What to do while the weights stand still: in a phase, in a test that awaits its winner, while blue is kept. Pure.

The guard looks at every new count, whatever the deployment waits for. The limits are judged when a phase is over.
"""

from datetime import datetime, timedelta
from typing import assert_never

from controller import budgeting, steps
from controller.decision import Compared, Counted, Crown, Decision, Extend, Observation, Uncounted, Wait
from controller.turning import GRACE, back, due, hold, onward, stop
from hotswap.comparison import Comparison, decision
from hotswap.deployment import AwaitPromotion, Bake, Deployment, HoldingStep, Keep, Ramp, Status
from hotswap.judge.basis import Basis, Epoch
from hotswap.judge.budget import complete
from hotswap.judge.compare import compare
from hotswap.judge.measures import Seen
from hotswap.judge.thresholds import judge
from hotswap.judge.verdict import Outcome
from hotswap.receipt import Judged, Rules
from hotswap.requests import OnInsufficientData

RECHECK = timedelta(seconds=1)
"""How often a phase that is over is judged again, until its sample says something."""


def of(step: HoldingStep, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    match step:
        case Bake():
            return _bake(step, deployment, observation, now)
        case Ramp():
            return _ramp(step, deployment, observation, now)
        case AwaitPromotion():
            return _await(step, deployment, observation, now)
        case Keep():
            ends = _ends(deployment, step.duration)
            return Wait(ends) if now < ends else onward(deployment, observation)
        case _:
            assert_never(step)


def _ends(deployment: Deployment, duration: timedelta) -> datetime:
    return (deployment.progress.observed or deployment.progress.entered) + duration


def _await(step: AwaitPromotion, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    if deployment.comparison is None and isinstance(observation.counted, Counted):
        return Compared(compared(step, observation.counted, deployment))
    if step.automatic and deployment.comparison and (winner := deployment.comparison.winner):
        return Crown(winner, decision(deployment.comparison))
    uncompared = max(deployment.progress.entered, observation.watched) + GRACE
    if deployment.status is Status.RUNNING and now < uncompared:
        return Wait(uncompared)
    if deployment.status is Status.RUNNING:
        return Compared(None)
    limit = deployment.progress.deadline
    if now < limit:
        return Wait(limit)
    return back(deployment, observation, now, reason=f"nobody named a winner within {steps.duration(step.limit)}")


def compared(step: AwaitPromotion, counted: Counted, deployment: Deployment) -> Comparison:
    """Of a deployment that holds the weights of its test."""
    since = deployment.progress.effect
    seen = {
        version: Seen(counted.of(version, since=since), counted.usage_of(version, since=since))
        for version in step.versions
    }
    return compare(
        seen,
        metrics=step.metrics,
        declarations=step.declared,
        weights=step.weights,
        planned=step.planned,
        complete=isinstance(steps.present(deployment), AwaitPromotion),
        primary=step.primary,
    )


def _bake(step: Bake, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    ends = _ends(deployment, step.duration)
    if now < ends:
        return Wait(ends)
    limit = due(deployment, observation)
    match observation.counted:
        case Counted(begun=begun) as counted if begun >= ends:
            return _judged(step, counted, deployment, observation, now)
        case Counted(begun=begun):
            told = f"the newest counts are of {begun:%H:%M:%S}, before the phase was over"
        case Uncounted() as uncounted:
            told = uncounted.text
        case _:
            assert_never(observation.counted)
    if now < limit:
        return Wait(min(limit, now + RECHECK))
    return hold(deployment, now, f"{steps.named(step.versions)} cannot be judged: {told}")


def _ramp(step: Ramp, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    """What cannot be borne the guard has told by now."""
    limit = due(deployment, observation)
    if not isinstance(observation.counted, Counted):
        blind = max(deployment.progress.entered, observation.watched) + budgeting.BLIND
        why = f"the harm budget cannot be watched: {observation.counted.text}"
        return Wait(blind) if now < blind else stop(deployment, observation, now, reason=why, faulty=False)
    if (found := budgeting.judged(step, deployment, observation, now)) and not budgeting.raises_too_often(
        step, deployment, found
    ):
        return budgeting.reweighed(step, deployment, observation, found, now)
    ends = step.began + step.duration if step.began else limit
    if now < ends:
        return Wait(ends)
    basis = budgeting.basis(step, deployment, observation, observation.counted, now)
    judged = Judged(rules=Rules.COMPLETE, basis=basis, verdict=complete(basis))
    return _outcome(step, deployment, observation, now, judged=judged)


def _judged(step: Bake, counted: Counted, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    judged = worst([_of_version(version, step, counted, deployment, observation, now) for version in step.versions])
    return _outcome(step, deployment, observation, now, judged=judged)


def _outcome(
    step: Bake | Ramp, deployment: Deployment, observation: Observation, now: datetime, *, judged: Judged
) -> Decision:
    match judged.verdict.outcome:
        case Outcome.PASS:
            return onward(deployment, observation, judged=judged)
        case Outcome.FAIL:
            return stop(deployment, observation, now, reason=judged.verdict.text, judged=judged, faulty=True)
        case Outcome.INSUFFICIENT:
            return _insufficient(step, deployment, observation, now, judged=judged)
        case _:
            assert_never(judged.verdict.outcome)


def _of_version(
    version: int, step: Bake, counted: Counted, deployment: Deployment, observation: Observation, now: datetime
) -> Judged:
    basis = Basis(
        tally=counted.of(version, since=deployment.progress.effect),
        limits=step.limits,
        counted_limit=observation.alias.latency_limit if observation.alias else None,
        epochs=_beside(version, counted, deployment),
        version=version,
        step=deployment.progress.index,
        at=now,
    )
    return Judged(rules=Rules.LIMITS, basis=basis, verdict=judge(basis))


def _beside(version: int, counted: Counted, deployment: Deployment) -> list[Epoch] | None:
    """The limits do not look at it, but it is kept: so it can be told later what others would have said."""
    if deployment.stable is None:
        return None
    return counted.epochs(version, deployment.stable, since=deployment.progress.effect)


def worst(found: list[Judged]) -> Judged:
    """The one that decides: a failure before too little, too little before a pass."""
    order = (Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.PASS)
    return min(found, key=lambda judged: order.index(judged.verdict.outcome))


def _insufficient(
    step: Bake | Ramp, deployment: Deployment, observation: Observation, now: datetime, *, judged: Judged
) -> Decision:
    match step.limits.on_insufficient_data:
        case OnInsufficientData.ADVANCE:
            return onward(deployment, observation, judged=judged)
        case OnInsufficientData.ROLLBACK:
            return stop(deployment, observation, now, reason=judged.verdict.text, judged=judged, faulty=False)
        case OnInsufficientData.HOLD:
            limit = due(deployment, observation)
            if now >= limit:
                return hold(deployment, now, judged.verdict.text, judged=judged)
            told = any(
                earlier.step == judged.verdict.step and earlier.outcome is Outcome.INSUFFICIENT
                for earlier in deployment.verdicts
            )
            return Wait(min(limit, now + RECHECK)) if told else Extend(judged)
        case _:
            assert_never(step.limits.on_insufficient_data)
