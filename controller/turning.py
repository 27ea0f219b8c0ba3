"""How a deployment turns: onward, back, or to a stand where a person decides. Pure; parts of `controller.decide`."""

from datetime import datetime, timedelta

from controller import scope, traffic
from controller.decision import Advance, Decision, Finish, Freeze, GoBack, Hold, Observation, Shows
from hotswap.deployment import Deployment, Status, Verb
from hotswap.receipt import Judged
from hotswap.requests import OnFailure

GRACE = timedelta(seconds=30)
HELD_LIMIT = timedelta(hours=24)
"""How long a person has to decide about what stands still."""
REMIND_AFTER = timedelta(hours=1)
"""A frozen deployment calls for a person again and again."""


def onward(
    deployment: Deployment, observation: Observation, *, judged: Judged | None = None, note: str = ""
) -> Decision:
    if deployment.progress.index + 1 < len(deployment.steps):
        nodes = observation.seen.nodes if isinstance(observation.seen, Shows) else 0
        return Advance(judged, note, observation.alias_revision, nodes)
    if deployment.status is not Status.ROLLING_BACK:
        return Finish(Status.SUCCEEDED, judged=judged, note=note)
    aborted = asked(deployment, Verb.ABORT) is not None
    return Finish(Status.ABORTED if aborted else Status.ROLLED_BACK, deployment.reason, note=note)


def failed(deployment: Deployment, observation: Observation, now: datetime, why: str, *, faulty: bool) -> Decision:
    """A step cannot be carried out."""
    if deployment.status is Status.ROLLING_BACK:
        return freeze(deployment, now, f"the way back failed: {why}")
    return stop(deployment, observation, now, reason=why, faulty=faulty)


def stop(
    deployment: Deployment,
    observation: Observation,
    now: datetime,
    *,
    reason: str,
    judged: Judged | None = None,
    faulty: bool,
) -> Decision:
    """It fails: back, or to a stand where the request wants that."""
    if deployment.on_failure is OnFailure.HOLD and traffic.moved(deployment, observation):
        return hold(deployment, now, reason, judged=judged, faulty=faulty)
    return back(deployment, observation, now, reason=reason, judged=judged, faulty=faulty)


def back(
    deployment: Deployment,
    observation: Observation,
    now: datetime,
    *,
    reason: str,
    judged: Judged | None = None,
    faulty: bool = False,
) -> Decision:
    if not traffic.moved(deployment, observation):
        return Finish(_unmoved(deployment), reason, judged, faulty=faulty)
    if not deployment.way_back:
        if asked(deployment, Verb.ROLLBACK, Verb.ABORT):
            return Finish(Status.ABORTED, f"{reason}; the alias stays: there is no version to go back to")
        return hold(deployment, now, f"{reason}, and there is no version to go back to", judged=judged, faulty=faulty)
    return GoBack(scope.first_needed(deployment, observation.serving), reason, judged, faulty)


def _unmoved(deployment: Deployment) -> Status:
    match deployment.asked.verb if deployment.asked else None:
        case Verb.ROLLBACK:
            return Status.ROLLED_BACK
        case Verb.ABORT:
            return Status.ABORTED
        case _:
            return Status.FAILED


def hold(
    deployment: Deployment, now: datetime, why: str, *, judged: Judged | None = None, faulty: bool = False
) -> Hold:
    return Hold(f"{why}; {ways_out(deployment, 'promote', 'rollback')}", now + HELD_LIMIT, judged, faulty)


def freeze(deployment: Deployment, now: datetime, why: str) -> Freeze:
    return Freeze(f"{why}; {ways_out(deployment, 'rollback', 'abort')}", now + REMIND_AFTER)


def ways_out(deployment: Deployment, *verbs: str) -> str:
    return "decide with " + " or ".join(f"`hotswap {verb} {deployment.id}`" for verb in verbs)


def asked(deployment: Deployment, *verbs: Verb) -> str | None:
    """Who asked for one of the verbs, and why, as a reason."""
    ask = deployment.asked
    if ask is None or ask.verb not in verbs:
        return None
    return f"{ask.verb} by {ask.who or 'someone'}" + (f": {ask.why}" if ask.why else "")


def due(deployment: Deployment, observation: Observation) -> datetime:
    """When the present step is late, by a controller that has watched it for long enough to tell."""
    return max(deployment.progress.deadline, observation.watched + GRACE)
