"""Runner nodes: an agent that makes its assignment so, and instances that outlive the agent but not the node.

What the agent decides and announces is the real code's (`agent.decide`, `agent.nodes`); only that instances are no
processes is simulated.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.decide import View, decide, served
from agent.nodes import Announcer
from hotswap.errors import NotLeader, Refused, Unavailable
from hotswap.mirror import mirrored
from hotswap.model import Assignment, Endpoint, Node
from hotswap.routers import Routers
from hotswap.rpc import agent_pb2
from hotswap.store import Fence, Store, Stored
from tests.simulation.cluster import Author
from tests.simulation.network import Connection, Network, Process
from tests.simulation.routers import RouterHosts, SimulatedAdmin
from tests.simulation.versions import Nature

KNOWN_LIMIT = 30.0
"""Seconds that routers may take to learn of an endpoint, as in `agent.slot`."""
ASSIGNMENT_LIMIT = 5.0
"""Seconds that an assignment may take to reach the agent that is asked to apply it."""

Natures = dict[tuple[str, int], Nature]


@dataclass(eq=False)
class Instance:
    function: str
    version: int
    name: str
    ready: bool = False
    """Its process serves; it goes on doing so when its agent is gone."""
    known: bool = False
    failed: bool = False
    retired: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def view(self) -> View:
        return View(self.name, self.version, ready=self.ready, known=self.known, retiring=self.retired.is_set())


class RunnerNode:
    """The machine."""

    def __init__(self, name: str, *, network: Network, natures: Natures, hosts: RouterHosts) -> None:
        self.name = name
        self.running: dict[str, Instance] = {}
        self.agent: Agent | None = None
        self.highest_fence = 0
        """Kept on its disk."""
        self.starts = 0
        self._network = network
        self._natures = natures
        self._hosts = hosts

    @property
    def process(self) -> Process | None:
        return self.agent.process if self.agent and self.agent.process.alive else None

    def start_agent(self) -> None:
        if self.process is None:
            self.starts += 1
            self.agent = Agent(self, Process(self.name, self._network), self._natures, self._hosts)
            self.agent.process.run(self.agent.run)

    def kill_agent(self) -> None:
        """Its instances serve on."""
        if self.process:
            self.process.die("its agent is killed")

    def die(self) -> None:
        if self.process:
            self.process.die("the node is killed")
        self.running.clear()


class Agent:
    """One life of the agent of a node."""

    def __init__(self, node: RunnerNode, process: Process, natures: Natures, hosts: RouterHosts) -> None:
        self.process = process
        self.boot = str(node.starts)
        self._node = node
        self._natures = natures
        self._hosts = hosts
        self._store = Store(Connection(process, Author(node.name, "agent")))
        self._announcer = Announcer(self._store, node.name)
        self._desired: dict[str, dict[int, int]] = {}
        self._revision = 0
        self._instances: list[Instance] = []
        self._changed = asyncio.Event()
        self._started = 0
        self._tasks: asyncio.TaskGroup
        self._routers: Routers

    async def run(self) -> None:
        async with (
            mirrored(self._store.routers) as routers,
            mirrored(self._store.assignments, self._node.name) as assignments,
            asyncio.TaskGroup() as self._tasks,
        ):
            self._routers = Routers(self._store.routers, routers, SimulatedAdmin(self.process, self._hosts))
            self._tasks.create_task(self._announcer.run(), name="announcer")
            self._announcer.announce(Node(name=self._node.name, address=self._node.name, boot=self.boot))
            for instance in list(self._node.running.values()):
                self._fill(instance)
            while True:
                self._desired = {it.value.function: dict(it.value.versions) for it in assignments}
                self._revision = assignments.revision
                self._tell()
                await assignments.changed()

    async def apply(self, assignment: Stored[Assignment], fence: Fence) -> AsyncIterator[agent_pb2.InstanceProgress]:
        """What the agent answers, as `agent.service` does."""
        if fence.create_revision < self._node.highest_fence:
            raise NotLeader("another controller leads by now")
        self._node.highest_fence = fence.create_revision
        await self._until_assigned(assignment.mod_revision)
        function, wanted = assignment.value.function, assignment.value.versions
        if wanted != self._desired.get(function):
            raise Refused("the assignment is another one by now")
        self._again(function)
        while True:
            changed = self._changed
            for instance in self._of(function):
                yield self._progress(instance)
            if served(wanted, [instance.view for instance in self._of(function)]):
                return
            await changed.wait()

    def _of(self, function: str) -> list[Instance]:
        return [instance for instance in self._instances if instance.function == function]

    async def _until_assigned(self, revision: int) -> None:
        try:
            async with asyncio.timeout(ASSIGNMENT_LIMIT):
                while self._revision < revision:
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable("the assignment has not arrived") from None

    def _progress(self, instance: Instance) -> agent_pb2.InstanceProgress:
        return agent_pb2.InstanceProgress(
            node=self._node.name,
            function=instance.function,
            version=instance.version,
            instance=instance.name,
            state=_state(instance),
            text="ModuleNotFoundError" if instance.failed else "",
        )

    def _again(self, function: str) -> None:
        """What has failed is tried anew."""
        for instance in self._of(function):
            if instance.failed:
                instance.retired.set()

    def _tell(self) -> None:
        """Something has changed: those who follow look again, and so does the agent."""
        self._changed.set()
        self._changed = asyncio.Event()
        for function in {**self._desired, **dict.fromkeys(one.function for one in self._instances)}:
            self._reconcile(function)

    def _reconcile(self, function: str) -> None:
        mine = self._of(function)
        decision = decide(self._desired.get(function, {}), [instance.view for instance in mine])
        for instance in mine:
            if instance.name in decision.retire:
                instance.retired.set()
        for version in decision.start:
            self._started += 1
            name = f"{self._node.name}.{self.boot}.{self._started}"
            self._fill(Instance(function, version, name))

    def _fill(self, instance: Instance) -> None:
        instance.retired, instance.known = asyncio.Event(), False
        self._instances.append(instance)
        self._tasks.create_task(self._live(instance), name=instance.name)

    async def _live(self, instance: Instance) -> None:
        if not instance.ready:
            await self._start(instance)
        if instance.ready:
            self._node.running[instance.name] = instance
            await self._serve(instance)
        else:
            await instance.retired.wait()
        self._instances.remove(instance)
        self._node.running.pop(instance.name, None)
        self._tell()

    async def _start(self, instance: Instance) -> None:
        nature = self._natures[instance.function, instance.version]
        await _either(instance.retired, asyncio.sleep(nature.start))
        if instance.retired.is_set() or nature.hangs:
            return
        instance.ready, instance.failed = nature.starts, not nature.starts
        self._tell()

    async def _serve(self, instance: Instance) -> None:
        known = self._tasks.create_task(self._publish(instance), name=f"publish {instance.name}")
        await instance.retired.wait()
        known.cancel()
        revision = await self._announcer.withdraw(self._endpoint(instance))
        await self._until_known(revision)

    async def _publish(self, instance: Instance) -> None:
        revision = await self._announcer.announce(self._endpoint(instance))
        await self._until_known(revision)
        instance.known = True
        self._tell()

    async def _until_known(self, revision: int) -> None:
        try:
            async with asyncio.timeout(KNOWN_LIMIT):
                await self._routers.applied("endpoints", revision)
        except TimeoutError:
            pass

    def _endpoint(self, instance: Instance) -> Endpoint:
        return Endpoint(
            function=instance.function,
            version=instance.version,
            instance=instance.name,
            node=self._node.name,
            address=instance.name,
            concurrency=1,
        )


class SimulatedAgents:
    """The agents as one process calls them (`controller.agents.Agents`)."""

    def __init__(self, caller: Process, nodes: dict[str, RunnerNode]) -> None:
        self._caller = caller
        self._nodes = nodes

    async def apply(
        self, node: Node, assignment: Stored[Assignment], fence: Fence
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        self._caller.point(f"before it calls {node.name}")
        await self._caller.reach()
        agent = self._agent(node)
        async for progress in agent.apply(assignment, fence):
            await self._caller.reach()
            if self._agent(node) is agent:
                yield progress

    def _agent(self, node: Node) -> Agent:
        agent = self._nodes[node.name].agent
        if agent is None or not agent.process.alive or not agent.process.connected or agent.boot != node.boot:
            raise Unavailable(f"the agent of {node.name} does not answer")
        return agent


def _state(instance: Instance) -> agent_pb2.InstanceState.ValueType:
    if instance.failed:
        return agent_pb2.INSTANCE_STATE_FAILED
    if not instance.ready:
        return agent_pb2.INSTANCE_STATE_STARTING
    return agent_pb2.INSTANCE_STATE_DRAINING if instance.retired.is_set() else agent_pb2.INSTANCE_STATE_READY


async def _either(event: asyncio.Event, work: Any) -> None:
    """Until the event, or until the work is done."""
    tasks = asyncio.ensure_future(event.wait()), asyncio.ensure_future(work)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def instances(nodes: dict[str, RunnerNode]) -> Iterator[tuple[str, Instance]]:
    for node in nodes.values():
        for instance in node.running.values():
            yield node.name, instance
