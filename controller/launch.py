"""One version coming up on its nodes: every agent is hurried along, and the endpoints tell when it is there.

Readiness is what the store says, so that a controller that is new, or that missed a message, sees the same. But an
endpoint may stand there of an instance that its agent is just about to withdraw, by an assignment that this one has
replaced: so each agent is also waited for to say that it has an instance of this version ready. An agent that cannot
be called is not waited for long: it may be cut off from the controllers alone, and does its work all the same.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from controller.agents import Agents
from controller.ready import ready
from hotswap.errors import HotswapError
from hotswap.mirror import Mirror, until_any
from hotswap.model import Endpoint, Node, Version
from hotswap.rpc import agent_pb2
from hotswap.store import Fence, Store, Stored

RETRY_AFTER = 0.2
"""Seconds before an agent that did not answer is called again."""
ANSWER_LIMIT = 5.0
"""Seconds from when the endpoints stand, for which agents are waited for to answer."""


class StartFailed(Exception):
    """The version does not start, for the reason that is the message."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The version is ready on its nodes."""

    endpoints: int
    """The revision of the newest of its endpoints."""
    nodes: int
    """The revision up to which the nodes were known. One that is announced anew since may have to start it again."""


class _Call:
    """Of one agent, to which it may take many."""

    def __init__(self) -> None:
        self.answers = False
        """It has, and goes on."""
        self.over = asyncio.Event()
        """It has an instance ready, or there is nothing to wait for."""


class Launch:
    def __init__(
        self,
        *,
        store: Store,
        fence: Fence,
        agents: Agents,
        nodes: Mirror[Node],
        endpoints: Mirror[Endpoint],
        version: Version,
        elsewhere: bool,
    ) -> None:
        """`elsewhere`: with none of its nodes left it is complete all the same, if the version serves on others."""
        self._store = store
        self._fence = fence
        self._agents = agents
        self._nodes = nodes
        self._endpoints = endpoints
        self._version = version
        self._elsewhere = elsewhere
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._calls: dict[str, _Call] = {}

    async def result(self, names: set[str]) -> Complete | StartFailed:
        """When it is ready on these nodes, or why it does not come to be.

        Returned, not raised, since it passes through the task groups of those who called.
        """
        self._calls = {name: _Call() for name in sorted(names)}
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(self._hurry(name, call)) for name, call in self._calls.items()]
            complete = asyncio.create_task(self._until_complete(names), name="complete")
            waits: list[asyncio.Future[Any]] = [complete, self._failure]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (complete, *calls):
                    task.cancel()
                await asyncio.wait([complete])
        return StartFailed(self._failure.result()) if self._failure.done() else complete.result()

    async def _until_complete(self, names: set[str]) -> Complete:
        await self._until_ready(names)
        await self._until_taken()
        while True:
            await self._until_ready(names)
            known = self._nodes.revision
            published = await self._store.endpoints.list(self._version.function, self._version.number)
            if self._complete(names, published):
                return Complete(max((stored.mod_revision for stored in published), default=0), known)
            await asyncio.sleep(RETRY_AFTER)  # the store is ahead of what its watch has told

    async def _until_ready(self, names: set[str]) -> None:
        """As far as the watches have told."""
        await until_any([self._endpoints, self._nodes], lambda: self._complete(names, self._endpoints))

    async def _until_taken(self) -> None:
        """Every agent says that it is ready there; those that are silent are not waited for beyond `ANSWER_LIMIT`."""
        patience = asyncio.get_running_loop().time() + ANSWER_LIMIT
        for call in self._calls.values():
            while not call.over.is_set():
                left = patience - asyncio.get_running_loop().time()
                if left <= 0 and not call.answers:
                    break
                with suppress(TimeoutError):
                    await asyncio.wait_for(call.over.wait(), max(left, RETRY_AFTER))

    def _complete(self, names: set[str], endpoints: Iterable[Stored[Endpoint]]) -> bool:
        """Every node that is left has all of its instances; with none left, somebody else has to serve."""
        left = {name for name in names if self._node(name)}
        there = ready(endpoints, self._nodes)
        if not left:
            return self._elsewhere and bool(there)
        return all(there[name] >= self._version.manifest.most_instances for name in left)

    def _node(self, name: str) -> Node | None:
        stored = self._nodes.get(self._store.nodes.key(name))
        return stored.value if stored else None

    async def _hurry(self, name: str, call: _Call) -> None:
        """Calls the agent until it has answered in full; one that is away is called again for as long as it lives."""
        while node := self._node(name):
            try:
                if await self._called(node, call):
                    break
            except HotswapError:  # the assignment is in the store: the agent comes to it without this call
                pass
            call.answers = False
            await asyncio.sleep(RETRY_AFTER)
        call.over.set()

    async def _called(self, node: Node, call: _Call) -> bool:
        assignment = await self._store.assignments.get(node.name, self._version.function)
        if assignment is None:
            return False
        async for progress in self._agents.apply(node, assignment, self._fence):
            call.answers = True
            if progress.version == self._version.number:
                self._noted(node, call, progress)
        return True

    def _noted(self, node: Node, call: _Call, progress: agent_pb2.InstanceProgress) -> None:
        if progress.state in {agent_pb2.INSTANCE_STATE_READY, agent_pb2.INSTANCE_STATE_ASLEEP}:
            call.over.set()
        elif progress.state == agent_pb2.INSTANCE_STATE_FAILED and not self._failure.done():
            self._failure.set_result(f"version {self._version.number} does not start on {node.name}: {progress.text}")
