"""What a strategy is given and what it returns, and the steps that every strategy ends or goes back by."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from controller.steps import named
from hotswap.deployment import AnyStep, Retire, Shift, Start
from hotswap.errors import Refused
from hotswap.model import FULL_WEIGHT, Alias, Sticky, Version
from hotswap.requests import Limits, OnFailure

FETCH_ALLOWANCE = timedelta(minutes=5)
"""What a node may take to fetch and unpack an artifact, on top of the version's own time to start."""
RESTARTS_ALLOWED = 2
"""Starts of an instance that fit into the limit, so that one false start does not end a deployment."""


@dataclass(frozen=True, slots=True)
class State:
    """The present state that a plan begins from."""

    alias: Alias | None
    """`None` before the first deployment of the alias."""
    version: Version
    """The version that is deployed."""
    nodes: tuple[str, ...] = ()
    """Names of the nodes where it may run, those that live."""

    @property
    def others(self) -> tuple[int, ...]:
        """Versions other than the new one that the alias routes to, the heaviest first."""
        weights = self.alias.weights if self.alias else {}
        present = [number for number, weight in weights.items() if weight and number != self.version.number]
        return tuple(sorted(present, key=lambda number: (-weights[number], -number)))

    @property
    def stable(self) -> int | None:
        """The version to go back to: the last good one where it has traffic, else the only one that has; if any.

        Raises `Refused` when several have traffic and none of them is known to be good: it is not guessed.
        """
        if self.alias and self.alias.last_good in self.others:
            return self.alias.last_good
        if self.alias and len(self.others) > 1:
            raise Refused(
                f'alias "{self.alias.name}" of "{self.alias.function}" gives traffic to {named(list(self.others))}, '
                "and none of them is known to be good: there would be no version to go back to",
                hint=f"choose one first: `hotswap alias set {self.alias.function}:{self.alias.name} "
                f"{self.others[0]}={FULL_WEIGHT}`",
            )
        return self.others[0] if self.others else None


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[AnyStep, ...]
    way_back: tuple[AnyStep, ...]
    """Empty for the first deployment of an alias: there is nothing to go back to, and an alias that routes to
    nothing would serve nobody better than one that routes to a version that fails."""
    stable: int | None
    on_failure: OnFailure = OnFailure.ROLLBACK


def start_limit(version: Version) -> timedelta:
    return FETCH_ALLOWANCE + RESTARTS_ALLOWED * version.manifest.start_timeout


def start(version: Version) -> Start:
    return Start(version=version.number, limit=start_limit(version))


def limits(config: Limits) -> Limits:
    """The limits alone, out of a configuration that has them among others."""
    return Limits(**{name: getattr(config, name) for name in Limits.__struct_fields__})


def latency_limit(config: Limits) -> timedelta | None:
    """What the routers shall count slower invocations against."""
    slowest = config.rollback_on_latency_p99
    return None if slowest is None else timedelta(milliseconds=slowest)


def give_all(version: int, *, latency_limit: timedelta | None = None) -> Shift:
    return Shift(weights={version: FULL_WEIGHT}, latency_limit=latency_limit)


def plan(state: State, *steps: AnyStep) -> Plan:
    """The steps, then the end that most strategies share: what was there before is retired; and the way back."""
    retire = tuple(Retire(version=other) for other in state.others)
    given_up = [state.version.number, *(other for other in state.others if other != state.stable)]
    return Plan((*steps, *retire), way_back(state.stable, given_up), state.stable)


def way_back(
    stable: int | None, given_up: Iterable[int], *, sticky: Sticky | msgspec.UnsetType | None = msgspec.UNSET
) -> tuple[AnyStep, ...]:
    if stable is None:
        return ()
    shift = Shift(weights={stable: FULL_WEIGHT}, sticky=sticky)
    return (Start(version=stable), shift, *(Retire(version=version) for version in given_up))
