"""How the versions of a test stand, told at any time: by any controller, and long before the test is over.

The routers are asked there and then. What one of them counted that has died since is known to the leader alone, and is
in the comparison that ends the test.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from controller.decision import Counted
from controller.holding import compared
from controller.metrics.routers import Trail
from controller.sampling import looking
from controller.steps import present
from hotswap.admin import admin_ports
from hotswap.comparison import Comparison
from hotswap.deployment import AwaitPromotion, Deployment, HoldingStep
from hotswap.errors import Refused, Unavailable
from hotswap.metrics import Counters
from hotswap.routers import Admin
from hotswap.store import Store

LIMIT = 10.0
"""Seconds for all routers to answer."""


class Comparing:
    def __init__(self, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def compare(self, deployment: Deployment) -> Comparison:
        """Raises `Refused` for what is no test or has not begun, `Unavailable` when a router does not answer."""
        test = next((step for step in deployment.plan if isinstance(step, AwaitPromotion)), None)
        if test is None:
            raise Refused(
                f"deployment {deployment.id} is no test: there is nothing to compare",
                hint=f"see its verdicts: hotswap get deployment {deployment.id}",
            )
        if deployment.comparison is not None and not isinstance(present(deployment), HoldingStep):
            return deployment.comparison  # its time is over, and the weights are others
        if deployment.status.terminal or not isinstance(present(deployment), HoldingStep):
            raise Refused(
                f"the test of deployment {deployment.id} has not begun, or ended before its versions were compared",
                hint=f"follow it: hotswap get deployment {deployment.id} -w",
            )
        return compared(test, await self._counted(deployment), deployment)

    async def _counted(self, deployment: Deployment) -> Counted:
        begun = self._clock()
        async with admin_ports() as admin:
            routers = Asked(self._store, admin)
            trail = Trail(
                routers, function=deployment.function, alias=deployment.alias, since=deployment.progress.effect
            )
            try:
                async with asyncio.timeout(LIMIT):
                    return await looking(trail, deployment, self._store)(begun)
            except TimeoutError:
                raise Unavailable(f"not every router told its counters within {LIMIT:g} s") from None


class Asked:
    """The routers that there are now."""

    def __init__(self, store: Store, admin: Admin) -> None:
        self._store = store
        self._admin = admin

    async def counters(self, function: str) -> list[Counters]:
        routers = await self._store.routers.list()
        return await asyncio.gather(*(self._admin.counters(stored.value, function) for stored in routers))
