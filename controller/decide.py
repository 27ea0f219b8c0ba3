"""What to do next about a deployment: a pure function of the record, of what was observed, and of the time.

`decide` says it, `controller.transition` turns it into the next record, and `controller.watcher` carries it out. Each
status and each step has a deadline, and each of them an exit:

    Queued             its turn -> Running; too long -> Failed
    Running            step by step -> Succeeded; a breach, a failure or a verb -> RollingBack, or Failed if none moved
    Paused             a person resumes, promotes, rolls back or aborts; after a day it goes back by itself
    AwaitingPromotion  a person names the winner -> Running; after the limit of the test it goes back by itself
    Held               a person promotes, resumes, rolls back or aborts; after a day it goes back by itself
    RollingBack        the way back, step by step -> RolledBack or Aborted; a failure -> Frozen
    Frozen             a person: rollback tries the way back again, abort leaves everything as it stands

Whatever it waits for, a version that has traffic is judged: the guard ends a pause as well as a phase.

A deadline that passed while no controller watched does not count before this one has watched for `GRACE`: what was
due may have happened, and routers and agents need a moment to tell.
"""

from datetime import datetime
from typing import assert_never

from controller import effects, holding, steps, traffic, waiting
from controller.decision import Decision, Observation, Pause, Wait
from controller.guarding import guarded
from controller.turning import HELD_LIMIT, asked, back, freeze, hold
from hotswap.deployment import Deployment, HoldingStep, Status, Verb


def decide(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    if breach := guarded(deployment, observation, now):
        return breach
    match deployment.status:
        case Status.QUEUED:
            return waiting.queued(deployment, observation, now)
        case Status.RUNNING | Status.AWAITING_PROMOTION:
            return _running(deployment, observation, now)
        case Status.PAUSED:
            return waiting.paused(deployment, observation, now)
        case Status.ROLLING_BACK:
            if found := traffic.difference(deployment, observation):
                return freeze(deployment, now, found)
            return _step(deployment, observation, now)
        case Status.HELD:
            return waiting.held(deployment, observation, now)
        case Status.FROZEN:
            return waiting.frozen(deployment, now)
        case Status.SUCCEEDED | Status.ROLLED_BACK | Status.FAILED | Status.ABORTED:
            return Wait(None)
        case _:
            assert_never(deployment.status)


def _running(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    if reason := asked(deployment, Verb.ROLLBACK, Verb.ABORT):
        return back(deployment, observation, now, reason=reason)
    if found := traffic.difference(deployment, observation):
        return hold(deployment, now, found)
    if asked(deployment, Verb.PAUSE):
        return Pause(now + HELD_LIMIT)
    if asked(deployment, Verb.PROMOTE) and (decision := waiting.promoted(deployment, observation)):
        return decision
    return _step(deployment, observation, now)


def _step(deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    step = steps.present(deployment)
    if isinstance(step, HoldingStep):
        return holding.of(step, deployment, observation, now)
    return effects.of(step, deployment, observation, now)
