"""What a step, or a person, makes of an alias. Pure."""

from datetime import datetime

import msgspec
from msgspec.structs import replace

from controller import steps
from hotswap.deployment import Deployment, Shift
from hotswap.model import FULL_WEIGHT, WEIGHT_HISTORY, Alias, Sticky, WeightChange, Weights


def shifted(before: Alias | None, step: Shift, deployment: Deployment, now: datetime) -> Alias:
    """The alias with the weights of the step. What the way back gives all traffic to is the last good version."""
    alias = before or Alias(function=deployment.function, name=deployment.alias, weights=step.weights)
    why = deployment.reason or deployment.request.reason or f"deployment {deployment.id}"
    sticky = alias.sticky if isinstance(step.sticky, msgspec.UnsetType) else step.sticky
    back = steps.goes_back(deployment.status)
    return replace(
        _changed(alias, step.weights, who=deployment.who, why=why, now=now),
        sticky=_salted(sticky, deployment),
        without={
            version: nodes for version, nodes in {**alias.without, **step.without}.items() if step.weights.get(version)
        },
        latency_limit=step.latency_limit,
        last_good=with_all(step.weights) or alias.last_good if back else alias.last_good,
        owner=deployment.id,
        step=steps.key(deployment),
    )


def settled(alias: Alias) -> Alias:
    """After a success: what has all of the traffic is what to go back to, and nothing is counted for it any more."""
    return replace(alias, last_good=with_all(alias.weights) or alias.last_good, latency_limit=None)


def set_by_hand(alias: Alias, weights: Weights, *, who: str, why: str, now: datetime) -> Alias:
    """A person's word stands: a version that is given everything is what to go back to from then on, and those that are
    named run on every node again."""
    after = _changed(alias, weights, who=who, why=why, now=now)
    last_good = with_all(weights) or alias.last_good
    return replace(after, owner="", step="", latency_limit=None, last_good=last_good, without={})


def with_all(weights: Weights) -> int | None:
    """The version that has all of the traffic, if one has."""
    return next((version for version, weight in weights.items() if weight == FULL_WEIGHT), None)


def _changed(alias: Alias, weights: Weights, *, who: str, why: str, now: datetime) -> Alias:
    entry = WeightChange(weights=weights, at=now, who=who, why=why)
    return replace(alias, weights=weights, history=[*alias.history, entry][-WEIGHT_HISTORY:])


def _salted(sticky: Sticky | None, deployment: Deployment) -> Sticky | None:
    """A new salt for each deployment, so that the same users are not always the first."""
    return replace(sticky, salt=deployment.id) if sticky else None
