"""What only the leader does, put together: the engine, the janitor, versions that run on demand, and weights that are
set by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controller.agents import Agents
from controller.alarms import Alarms
from controller.demand import Demand
from controller.engine import Engine
from controller.janitor import Janitor
from controller.means import Clock, Means, Testing
from controller.metrics import prometheus as by_prometheus
from controller.metrics.routers import Counts
from controller.placement import Placement
from controller.service import Service
from controller.weights import HandWeights
from hotswap.mirror import Mirror, mirrored
from hotswap.model import Router
from hotswap.routers import Admin, Routers
from hotswap.settings import PrometheusSettings
from hotswap.store import Fence, Store


@asynccontextmanager
async def leading(
    *,
    store: Store,
    fence: Fence,
    agents: Agents,
    admin: Admin,
    testing: Testing,
    service: Service,
    clock: Clock,
    prometheus: PrometheusSettings | None = None,
) -> AsyncIterator[HandWeights]:
    """Runs until the context ends, or ends it: with `NotLeader` (in a group) when somebody else leads."""
    async with (
        mirrored(store.routers) as known_routers,
        mirrored(store.nodes) as nodes,
        _counts(prometheus, known_routers, clock) as counts,
        asyncio.TaskGroup() as tasks,
    ):
        routers = Routers(store.routers, known_routers, admin)
        placement = Placement(store=store, fence=fence, agents=agents, nodes=nodes, routers=routers)
        means = Means(
            store=store,
            fence=fence,
            placement=placement,
            routers=routers,
            testing=testing,
            clock=clock,
            counts=counts,
        )
        engine = Engine(means)
        tasks.create_task(engine.run(), name="engine")
        tasks.create_task(Alarms(known_routers, admin, engine.alarm).run(), name="alarms")
        demand = Demand(store=store, routers=known_routers, admin=admin, counters=routers.counters, placement=placement)
        tasks.create_task(demand.run(), name="demand")
        tasks.create_task(Janitor(store=store, nodes=nodes, placement=placement).run(), name="janitor")
        yield HandWeights(store=store, fence=fence, placement=placement, routers=routers, service=service, clock=clock)


@asynccontextmanager
async def _counts(
    settings: PrometheusSettings | None, known: Mirror[Router], clock: Clock
) -> AsyncIterator[Counts | None]:
    """Who is asked for counts in place of the routers."""
    if settings is None:
        yield None
        return
    async with by_prometheus.prometheus(
        settings, routers=lambda: [stored.value for stored in known], clock=clock
    ) as counts:
        yield counts
