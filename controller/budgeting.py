"""What becomes of a version with a harm budget when the routers are asked. Pure; `hotswap.judge.budget` decides."""

from datetime import datetime, timedelta
from math import isfinite

from msgspec.structs import replace

from controller import steps
from controller.decision import Counted, Observation, Reweigh
from hotswap.deployment import Deployment, Ramp, Shift, Status
from hotswap.judge.basis import Basis, Exposure
from hotswap.judge.budget import rate, unanswered, weigh
from hotswap.judge.thresholds import TAIL
from hotswap.metrics import BOUNDARIES, Tally
from hotswap.model import FULL_WEIGHT
from hotswap.receipt import Judged, Rules

BLIND = timedelta(seconds=10)
"""For which the routers may tell nothing before the version goes back: its budget is spent unseen."""
MOST_RAISED = 50
"""After so many changes a weight only falls: a record does not grow for ever."""


def judged(step: Ramp, deployment: Deployment, observation: Observation, now: datetime) -> Judged | None:
    """Another weight, or that none can be borne; `None` to leave it as it is, and where there are no counts."""
    counted = observation.counted
    if not isinstance(counted, Counted) or not counted.lapse:
        return None  # it takes two looks to know how much there is to do
    found = basis(step, deployment, observation, counted, now)
    verdict = weigh(found)
    return Judged(rules=Rules.BUDGET, basis=found, verdict=verdict) if verdict else None


def basis(step: Ramp, deployment: Deployment, observation: Observation, counted: Counted, now: datetime) -> Basis:
    since, stable = deployment.traffic_since, deployment.stable
    assert stable is not None, "without a version beside it there is no budget"
    mine = counted.of(step.version, since=since) if step.began else Tally.zero()
    lately = counted.lately_of(step.version, since=since)
    level, weight = _level(deployment, observation), weight_of(step, deployment)
    levels = {**step.levels, level: weight} if step.began else {}
    epochs = [(it, counted.epoch(step.version, stable, revision)) for revision, it in levels.items()]
    sticky = observation.alias is not None and observation.alias.sticky is not None
    stood = max(timedelta(), counted.begun - (deployment.progress.observed or deployment.progress.entered))
    return Basis(
        tally=mine,
        limits=step.limits,
        counted_limit=observation.alias.latency_limit if observation.alias else None,
        version=step.version,
        step=deployment.progress.index,
        at=now,
        exposure=Exposure(
            budget=step.budget,
            weight=weight,
            rate=rate(counted.fresh, counted.lapse.total_seconds(), whole=_on_the_whole(counted)),
            stood=stood,
            age=max(timedelta(), now - counted.begun),
            answered=epochs[-1][1].invocations if epochs else 0,
            pending=0 if sticky else unanswered(epochs),
            latency=max(_p99(mine), _p99(counted.of(stable, since=since))),
            stands=deployment.status is not Status.RUNNING,
            lately=lately.invocations,
            lately_failed=lately.errors,
        ),
    )


def _level(deployment: Deployment, observation: Observation) -> int:
    """Revision of the present weights; a step that is taken up again was not told."""
    return deployment.progress.effect or observation.alias_revision


def weight_of(step: Ramp, deployment: Deployment) -> int:
    last = steps.last_shift(deployment, before=deployment.progress.index)
    shift = None if last is None else deployment.steps[last]
    return shift.weights.get(step.version, 0) if isinstance(shift, Shift) else 0


def reweighed(step: Ramp, deployment: Deployment, observation: Observation, judged: Judged, now: datetime) -> Reweigh:
    """The rest of the plan begins with the weight that the verdict names."""
    weight = int(judged.verdict.value or 0)
    assert deployment.stable is not None, "without a version beside it there is no budget"
    slowest = step.limits.rollback_on_latency_p99
    shift = Shift(
        weights={deployment.stable: FULL_WEIGHT - weight, step.version: weight},
        latency_limit=None if slowest is None else timedelta(milliseconds=slowest),
    )
    stood = {_level(deployment, observation): weight_of(step, deployment)} if step.began else {}
    after = replace(step, began=step.began or now, levels={**step.levels, **stood})
    return Reweigh(shift, after, judged, observation.alias_revision)


def raises_too_often(step: Ramp, deployment: Deployment, judged: Judged) -> bool:
    higher = (judged.verdict.value or 0) > weight_of(step, deployment)
    return higher and len(step.levels) >= MOST_RAISED


def _on_the_whole(counted: Counted) -> float | None:
    """Invocations per second, of the last while and not of the present weights: a pause is no time for these."""
    return (counted.lately + 1) / counted.span.total_seconds() if counted.span > counted.lapse else None


def _p99(tally: Tally) -> timedelta:
    found = tally.quantile(1 - TAIL) or 0.0
    return timedelta(seconds=found if isfinite(found) else BOUNDARIES[-1])
