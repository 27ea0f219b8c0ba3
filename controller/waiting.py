"""What to do about a deployment that stands still: queued, paused, held or frozen. Pure.

Each of them has a deadline and an exit: one that is queued for too long fails, one that nobody decides about goes back
by itself, and one that is frozen calls for a person again and again.
"""

from datetime import datetime

from controller import steps, traffic
from controller.decision import Begin, Crown, Decision, Finish, Hasten, Observation, Remind, Resume, Unpause, Wait
from controller.scope import again_from
from controller.turning import HELD_LIMIT, REMIND_AFTER, asked, back, onward
from hotswap.deployment import AwaitPromotion, Bake, Deployment, HoldingStep, Status, Verb


def queued(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    if reason := asked(deployment, Verb.ABORT, Verb.ROLLBACK):
        return Finish(Status.ABORTED, f"{reason}; it had not begun")
    if observation.turn:
        return Begin()
    deadline = deployment.progress.deadline
    if now < deadline:
        return Wait(deadline)
    waited = steps.duration(deadline - deployment.progress.entered)
    return Finish(Status.FAILED, f'alias "{deployment.alias}" was not free within {waited}')


def paused(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    if reason := asked(deployment, Verb.ROLLBACK, Verb.ABORT):
        return back(deployment, observation, now, reason=reason)
    if asked(deployment, Verb.RESUME):
        return Unpause()
    if asked(deployment, Verb.PROMOTE):
        return promoted(deployment, observation) or Unpause()
    return _undecided(deployment, observation, now)


def held(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    if reason := asked(deployment, Verb.ROLLBACK, Verb.ABORT):
        return back(deployment, observation, now, reason=reason)
    changed = traffic.difference(deployment, observation) is not None
    if note := asked(deployment, Verb.PROMOTE):
        if not changed and isinstance(steps.present(deployment), HoldingStep):
            return promoted(deployment, observation) or Resume(deployment.progress.index, note=note)
        return _again(deployment, observation, changed=changed, note=note)
    if note := asked(deployment, Verb.RESUME):
        return _resumed(deployment, observation, changed=changed, note=note)
    if note := asked(deployment, Verb.RETRY):
        return _giving(_retried(deployment), deployment, observation, note=note)
    return _undecided(deployment, observation, now)


def frozen(deployment: Deployment, now: datetime) -> Decision:
    if note := asked(deployment, Verb.ROLLBACK, Verb.PROMOTE, Verb.RETRY):
        return Resume(again_from(deployment), overrules=True, note=note)
    if reason := asked(deployment, Verb.ABORT):
        return Finish(Status.ABORTED, f"{reason}; the alias was left as it stands")
    deadline = deployment.progress.deadline
    return Wait(deadline) if now < deadline else Remind(now + REMIND_AFTER)


def promoted(deployment: Deployment, observation: Observation) -> Decision | None:
    """Past what the deployment waits for; `None` where it waits for nothing that a person could shorten."""
    ask, note = deployment.asked, asked(deployment, Verb.PROMOTE) or ""
    step = steps.present(deployment)
    if ask and ask.winner is not None and isinstance(step, Bake | AwaitPromotion):
        return Crown(ask.winner, note)
    if ask and ask.full and deployment.progress.index + 1 < len(deployment.plan):
        return Hasten(note, observation.alias_revision)
    return onward(deployment, observation, note=note) if isinstance(step, HoldingStep) else None


def _undecided(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    deadline = deployment.progress.deadline
    if now < deadline:
        return Wait(deadline)
    unasked = f"nobody decided within {steps.duration(HELD_LIMIT)}"
    if traffic.difference(deployment, observation) or not deployment.way_back:
        return Finish(Status.ABORTED, f"{unasked}; the alias was left as it stands")
    return back(deployment, observation, now, reason=unasked)


def _again(deployment: Deployment, observation: Observation, *, changed: bool, note: str) -> Resume:
    """The present step as another attempt; what somebody else changed is set again first."""
    index = deployment.progress.index
    if not changed:
        return Resume(index, note=note)
    last = steps.last_shift(deployment, before=index + 1)
    return _giving(index if last is None else last, deployment, observation, note=note)


def _giving(index: int, deployment: Deployment, observation: Observation, *, note: str) -> Resume:
    """Anew from a step that may give weights to what has none now, and may have been taken from its nodes."""
    return Resume(index, overrules=True, first=traffic.unserved(deployment, index, observation.alias), note=note)


def _resumed(deployment: Deployment, observation: Observation, *, changed: bool, note: str) -> Resume:
    adopted = deployment.asked is not None and deployment.asked.adopt
    last = steps.last_shift(deployment, before=deployment.progress.index + 1)
    if not (adopted and changed and observation.alias and last is not None):
        return _again(deployment, observation, changed=changed, note=note)
    return Resume(last, overrules=True, weights=observation.alias.weights, note=note)


def _retried(deployment: Deployment) -> int:
    """Where it begins again. What holds weights that are no more begins with giving them."""
    present, wanted = deployment.progress.index, deployment.asked.step if deployment.asked else None
    index = present if wanted is None else min(wanted, len(deployment.plan)) - 1
    if index == present or not isinstance(deployment.plan[index], HoldingStep):
        return index
    last = steps.last_shift(deployment, before=index)
    return index if last is None else last
