"""The guard: a version that has traffic is judged at each new count, whatever its deployment waits for. Pure."""

from datetime import datetime

from msgspec.structs import replace

from controller import budgeting, steps, traffic
from controller.decision import Counted, Decision, LeaveOut, Observation
from controller.steps import Watched
from controller.turning import asked, hold, stop
from hotswap.deployment import Bake, Deployment, Ramp, Shift, Start, Status, Verb
from hotswap.judge.basis import Basis
from hotswap.judge.guard import watch
from hotswap.judge.nodes import MOST_IN_DOUBT, apart, suspicion
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
        if not (verdict := watch(basis)):
            continue
        judged = Judged(rules=Rules.GUARD, basis=basis, verdict=verdict)
        suspect = _suspect(judged, observation.counted, deployment)
        if suspect is None:
            return _breached(judged, deployment, observation, now)
        if isinstance(suspect, LeaveOut):
            return suspect
    return _unbearable(deployment, observation, now)


class Open:
    """All errors are from one node, and it takes more to tell the node from the version."""


def _suspect(judged: Judged, counted: Counted, deployment: Deployment) -> LeaveOut | Open | None:
    """`None` where it is the version. It may leave one node in a deployment: what fails on the next is the version."""
    version, errors = judged.verdict.version, judged.basis.tally.errors
    if version is None or judged.verdict.shared or not _may_leave(judged.verdict.rule, deployment):
        return None
    nodes = dict(counted.nodes.get(version, {}))
    found = suspicion(nodes)
    if found is None or (errors > MOST_IN_DOUBT and not found.sure):  # nodes may be told of late, or never
        return None
    basis = replace(judged.basis, nodes=nodes)
    verdict = apart(basis)
    if verdict is None:
        return Open()
    return LeaveOut(found.node, version, Judged(rules=Rules.NODE, basis=basis, verdict=verdict))


def _may_leave(rule: str, deployment: Deployment) -> bool:
    """Slowness is not told by node; and where a version goes from node to node, its weight says how many it has."""
    plan = deployment.plan
    rolls = any(isinstance(step, Start) and step.nodes is not None for step in plan)
    once = any(isinstance(step, Shift) and step.without for step in plan)
    holds = deployment.status is Status.RUNNING and isinstance(steps.present(deployment), Bake)
    return holds and not rolls and not once and rule != "guard:rollbackOnLatencyP99"


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
