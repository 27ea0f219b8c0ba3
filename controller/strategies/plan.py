"""What a strategy is given and what it returns, and the steps that every strategy ends or goes back by."""

from dataclasses import dataclass
from datetime import timedelta

from hotswap.deployment import AnyStep, Retire, Shift, Start
from hotswap.model import FULL_WEIGHT, Alias, Version

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

    @property
    def others(self) -> tuple[int, ...]:
        """Versions other than the new one that the alias routes to, the heaviest first."""
        weights = self.alias.weights if self.alias else {}
        present = [number for number, weight in weights.items() if weight and number != self.version.number]
        return tuple(sorted(present, key=lambda number: (-weights[number], -number)))

    @property
    def stable(self) -> int | None:
        """The version to go back to: the last good one where it has traffic, else the heaviest, if any."""
        if self.alias and self.alias.last_good in self.others:
            return self.alias.last_good
        return self.others[0] if self.others else None


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[AnyStep, ...]
    way_back: tuple[AnyStep, ...]
    """Empty for the first deployment of an alias: there is nothing to go back to, and an alias that routes to
    nothing would serve nobody better than one that routes to a version that fails."""
    stable: int | None


def start(version: Version) -> Start:
    limit = FETCH_ALLOWANCE + RESTARTS_ALLOWED * version.manifest.start_timeout
    return Start(version=version.number, limit=limit)


def give_all(version: int, *, latency_limit: timedelta | None = None) -> Shift:
    return Shift(weights={version: FULL_WEIGHT}, latency_limit=latency_limit)


def plan(state: State, *steps: AnyStep) -> Plan:
    """The steps, then the end that all strategies share: what was there before is retired; and the way back."""
    retire = tuple(Retire(version=other) for other in state.others)
    return Plan((*steps, *retire), _way_back(state), state.stable)


def _way_back(state: State) -> tuple[AnyStep, ...]:
    if state.stable is None:
        return ()
    given_up = (state.version.number, *(other for other in state.others if other != state.stable))
    return (
        Start(version=state.stable),
        give_all(state.stable),
        *(Retire(version=version) for version in given_up),
    )
