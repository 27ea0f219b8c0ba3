"""The guard: a version that has traffic is judged at each new count, whatever its deployment waits for. Pure."""

from datetime import datetime

from controller import budgeting, steps, traffic
from controller.decision import Counted, Decision, Observation
from controller.steps import Watched
from controller.turning import asked, hold, stop
from hotswap.deployment import Deployment, Ramp, Status, Verb
from hotswap.judge.basis import Basis
from hotswap.judge.guard import watch
from hotswap.judge.verdict import Outcome
from hotswap.receipt import Judged, Rules
from hotswap.requests import OnSharedIncident


def guarded(deployment: Deployment, observation: Observation, now: datetime) -> Decision | None:
    """How a breach ends it; `None` while there is none, and where the guard has nothing to say (any more)."""
    watched = steps.watched(deployment)
    if watched is None or not isinstance(observation.counted, Counted) or _decided(deployment, observation):
        return None
    for version in watched.versions:
        basis = _basis(version, watched, observation.counted, deployment, observation, now)
        if verdict := watch(basis):
            judged = Judged(rules=Rules.GUARD, basis=basis, verdict=verdict)
            return _breached(judged, deployment, observation, now)
    return _unbearable(deployment, observation, now)


def _unbearable(deployment: Deployment, observation: Observation, now: datetime) -> Decision | None:
    """Its harm budget does not carry what it has, and it cannot have less."""
    step = steps.present(deployment)
    judged = budgeting.judged(step, deployment, observation, now) if isinstance(step, Ramp) else None
    if judged is None or judged.verdict.outcome is Outcome.PASS:
        return None
    faulty = judged.verdict.outcome is Outcome.FAIL
    return stop(deployment, observation, now, reason=judged.verdict.text, judged=judged, faulty=faulty)


def _basis(
    version: int, watched: Watched, counted: Counted, deployment: Deployment, observation: Observation, now: datetime
) -> Basis:
    stable, since = deployment.stable, deployment.traffic_since
    return Basis(
        tally=counted.of(version, since=since),
        limits=watched.limits,
        counted_limit=observation.alias.latency_limit if observation.alias else None,
        epochs=counted.epochs(version, stable, since=since) if stable is not None else None,
        version=version,
        step=deployment.progress.index,
        at=now,
    )


def _breached(judged: Judged, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    """An incident that both versions share is no fault of the new one, and may be a person's to decide about."""
    verdict = judged.verdict
    if verdict.shared and judged.basis.limits.on_shared_incident is OnSharedIncident.HOLD:
        return hold(deployment, now, verdict.text, judged=judged)
    return stop(deployment, observation, now, reason=verdict.text, judged=judged, faulty=not verdict.shared)


def _decided(deployment: Deployment, observation: Observation) -> bool:
    """It goes back anyway, somebody else has the alias, or the failure was told and a person decides about it."""
    held = deployment.status is Status.HELD
    told = held and bool(deployment.verdicts) and deployment.verdicts[-1].outcome is Outcome.FAIL
    leaving = asked(deployment, Verb.ROLLBACK, Verb.ABORT) is not None
    return leaving or told or traffic.difference(deployment, observation) is not None
