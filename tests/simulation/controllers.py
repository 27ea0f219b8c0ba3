"""Controllers: the real code, from leadership to the watchers, in a process that may die at any write."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.artifacts import opened
from controller.lead import leading
from controller.leader import Leadership
from controller.means import TestsFailed
from controller.publishing import Publishing
from controller.service import Service
from controller.weights import HandWeights
from hotswap.deployment import Deployment, Test
from hotswap.store import Fence, Store
from tests.simulation.cluster import Author
from tests.simulation.network import Connection, Network, Process
from tests.simulation.nodes import Natures, RunnerNode, SimulatedAgents
from tests.simulation.routers import RouterHosts, SimulatedAdmin

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TESTS_TAKE = 1.5
"""Seconds."""
NOWHERE = Path("/nonexistent")
"""Nothing is published in a simulation: its versions are there from the start."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Of one machine: they do not agree."""

    ahead: float
    """Seconds."""

    def __call__(self) -> datetime:
        return BEGIN + timedelta(seconds=asyncio.get_running_loop().time() + self.ahead)


class SimulatedTesting:
    """Tests that take a while, and find what a version does by then."""

    def __init__(self, natures: Natures) -> None:
        self._natures = natures

    async def tested(self, deployment: Deployment, step: Test) -> str:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await asyncio.sleep(TESTS_TAKE)
        nature = self._natures[deployment.function, step.version]
        if (share := nature.failing(begin, loop.time())) > step.suite.load.max_error_rate if step.suite.load else False:
            raise TestsFailed(f"{share:.0%} of the invocations failed")
        return "the tests passed"


class ControllerHost:
    """The machine; a controller that dies on it is started again by `start`."""

    def __init__(
        self,
        name: str,
        *,
        network: Network,
        nodes: dict[str, RunnerNode],
        hosts: RouterHosts,
        natures: Natures,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.name = name
        self.controller: SimulatedController | None = None
        self._network = network
        self._nodes = nodes
        self._hosts = hosts
        self._natures = natures
        self._clock = clock
        self._new_id = new_id

    @property
    def process(self) -> Process | None:
        return self.controller.process if self.controller and self.controller.process.alive else None

    def start(self) -> None:
        if self.process is None:
            process = Process(self.name, self._network)
            self.controller = SimulatedController(
                process, self._nodes, self._hosts, self._natures, clock=self._clock, new_id=self._new_id
            )
            process.run(self.controller.run)


class SimulatedController:
    """One life of a controller."""

    def __init__(
        self,
        process: Process,
        nodes: dict[str, RunnerNode],
        hosts: RouterHosts,
        natures: Natures,
        *,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.process = process
        self.weights: HandWeights | None = None
        """While it leads."""
        self._nodes = nodes
        self._hosts = hosts
        self._natures = natures
        self._clock = clock
        store = self._store("person")
        publishing = Publishing(store=store, artifacts=opened(NOWHERE, controller=process.name), clock=clock)
        self.service = Service(store=store, publishing=publishing, clock=clock, new_id=new_id)

    async def run(self) -> None:
        name = self.process.name
        leadership = Leadership(store=self._store("candidate"), name=name, address=name, rest="", clock=self._clock)
        await leadership.run(self._lead)

    async def _lead(self, fence: Fence) -> None:
        async with leading(
            store=self._store("leader", fence=fence.create_revision),
            fence=fence,
            agents=SimulatedAgents(self.process, self._nodes),
            admin=SimulatedAdmin(self.process, self._hosts),
            testing=SimulatedTesting(self._natures),
            service=self.service,
            clock=self._clock,
        ) as self.weights:
            try:
                await asyncio.Event().wait()
            finally:
                self.weights = None

    def _store(self, role: str, *, fence: int = 0) -> Store:
        return Store(Connection(self.process, Author(self.process.name, role, fence)))
