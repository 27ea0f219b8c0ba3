"""What to do about a step that has an effect: make it, wait for it to show, or give it up. Pure."""

from datetime import datetime
from typing import assert_never

from controller import steps, traffic
from controller.decision import Act, Broke, Decision, Observation, Pending, Resume, Shows, Wait
from controller.turning import due, failed, onward
from hotswap.deployment import Deployment, EffectStep, Retire, Shift, Start, Test


def of(step: EffectStep, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    limit = due(deployment, observation)
    if isinstance(step, Test) and now < (ready := deployment.progress.entered + step.soak):
        return Wait(ready)
    made = traffic.written(deployment, observation.alias)
    if not isinstance(step, Test) and isinstance(observation.seen, Pending) and not made:
        return _made(step, deployment, observation) if now < limit else _late(step, deployment, observation, now)
    match observation.seen:
        case Shows(note=note):
            return onward(deployment, observation, note=note)
        case Broke(why=why, faulty=faulty):
            return failed(deployment, observation, now, why, faulty=faulty)
        case Pending() if now < limit:
            return Wait(limit)
        case Pending():
            return _late(step, deployment, observation, now)
        case _:
            assert_never(observation.seen)


def _made(step: Start | Shift | Retire, deployment: Deployment, observation: Observation) -> Decision:
    """Traffic is given to what runs: an alias that somebody else has changed or taken away tells of it no more."""
    index = deployment.progress.index
    first = () if steps.goes_back(deployment.status) else traffic.unserved(deployment, index, observation.alias)
    if first:
        return Resume(index, deployment.progress.overrules, first=first, note=f"starts {steps.named([*first])} first")
    return Act(step)


def _late(step: EffectStep, deployment: Deployment, observation: Observation, now: datetime) -> Decision:
    limit = steps.duration(steps.limit(step))
    match step:
        case Start():
            where = "every node" if step.nodes is None else " and ".join(step.nodes)
            why = f"version {step.version} was not ready on {where} within {limit}"
            return failed(deployment, observation, now, why, faulty=False)
        case Shift():
            why = f"not every router took {steps.shares(step.weights)} within {limit}"
            return failed(deployment, observation, now, why, faulty=False)
        case Test():
            took = steps.duration(step.duration)
            why = f"the tests of version {step.version} were not over within {took}"
            return failed(deployment, observation, now, why, faulty=False)
        case Retire():
            note = f"version {step.version} is still withdrawn by its nodes after {limit}; the rest needs no waiting"
            return onward(deployment, observation, note=note)
        case _:
            assert_never(step)
