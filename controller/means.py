"""What a deployment is carried out with: the sides of placement, routers and tests that its watcher may touch."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from controller.metrics.routers import Counts
from hotswap.deployment import Deployment, Retire, Start, Test
from hotswap.store import Fence, Store

Clock = Callable[[], datetime]


class TestsFailed(Exception):
    """The version did not pass its tests, for the reason that is the message."""

    __test__ = False  # not one of ours


class Placing(Protocol):
    """See `controller.placement.Placement`."""

    async def assign(self, function: str, step: Start) -> int: ...
    async def settle(self, function: str) -> int: ...
    async def started(self, function: str, step: Start) -> int: ...
    async def retired(self, function: str, step: Retire) -> None: ...


class Routing(Counts, Protocol):
    """See `hotswap.routers.Routers`."""

    async def applied(self, subject: Literal["aliases", "endpoints"], revision: int) -> None: ...


class Testing(Protocol):
    async def tested(self, deployment: Deployment, step: Test) -> str:
        """What the tests showed. Raises `TestsFailed`, and `Unavailable` when nobody could tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """All by which a deployment is carried out."""

    store: Store
    fence: Fence
    placement: Placing
    routers: Routing
    testing: Testing
    clock: Clock
    counts: Counts | None = None
    """Who is asked for counts in place of the routers, but for tests: their users are known to the routers alone."""
