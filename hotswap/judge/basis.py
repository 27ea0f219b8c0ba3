"""What a verdict follows from, whole: who has it gives the same verdict again."""

from datetime import datetime, timedelta

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
    """`None` where there is no stable version to run beside it, or the verdict does not look at one."""
