"""What a verdict follows from, whole: who has it gives the same verdict again."""

from datetime import datetime, timedelta

from hotswap.metrics import Tally
from hotswap.model import Model, VersionNumber
from hotswap.requests import Limits


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
