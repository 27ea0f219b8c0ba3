"""What a verdict follows from, whole: who has it gives the same verdict again."""

from datetime import datetime, timedelta

import msgspec

from hotswap.metrics import Tally
from hotswap.model import Model, VersionNumber
from hotswap.requests import Limits

SAMPLE_EVERY = timedelta(seconds=2)
"""How often the routers are asked what they count; a router that dies takes no more than that from the count."""


class Epoch(Model, frozen=True, kw_only=True):
    """The time for which an alias kept one set of weights: what a version and the stable one beside it answered."""

    invocations: int
    errors: int
    beside: int
    """Invocations of the stable version."""
    beside_errors: int

    @property
    def share(self) -> float:
        """The version's share of both versions' traffic, 0 to 1: the split is exact, so it is the share by weight."""
        both = self.invocations + self.beside
        return self.invocations / both if both else 0.0

    @property
    def shared(self) -> bool:
        return self.invocations > 0 and self.beside > 0


class Sum(Model, frozen=True, kw_only=True):
    invocations: int
    errors: int


class Exposure(Model, frozen=True, kw_only=True):
    """Where a version with a harm budget stands when its next weight is decided."""

    budget: int
    """How many of its invocations may fail."""
    weight: int
    """That it has now; 0 before its first."""
    rate: float
    """Invocations of the alias per second."""
    stood: timedelta
    """How long these weights had stood when the routers were asked."""
    age: timedelta
    """How long ago that was."""
    answered: int
    """What the version has answered under these weights."""
    pending: int
    """What it was given and has not answered, as the version beside it tells: all of it may fail."""
    latency: timedelta
    """That 99 of 100 invocations stay under: until it has passed, what was given to a version is not counted."""
    stands: bool = False
    """The weight is not to be changed, as the deployment waits for something else: it is borne, or the version goes."""
    lately: int = 0
    """What the version has answered in the last while, ..."""
    lately_failed: int = 0
    """... and of that, what failed."""


class Basis(Model, frozen=True, kw_only=True):
    version: VersionNumber
    step: int
    """Index into the plan."""
    at: datetime
    tally: Tally
    """All that counts: what the version answered in a phase, or in the deployment."""
    limits: Limits
    counted_limit: timedelta | None = None
    """What the routers counted `Count.SLOW` against."""
    epochs: list[Epoch] | None = None
    """`None` where there is no stable version to run beside it. The limits do not look at it."""
    exposure: Exposure | msgspec.UnsetType = msgspec.UNSET
    """Where there is a harm budget; elsewhere it is no part of a receipt."""
    nodes: dict[str, Sum] | msgspec.UnsetType = msgspec.UNSET
    """Where a node is told from the version: what the version answered on each."""
