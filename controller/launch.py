"""One version coming up on its nodes: every agent is hurried along, and the endpoints tell when it is there.

Readiness is what the store says, so that a controller that is new, or that missed a message, sees the same. But an
endpoint may stand there of an instance that its agent is just about to withdraw, by an assignment that this one has
replaced: so each agent is also waited for to say that it has taken this one. An agent that cannot be called is not
waited for long: it may be cut off from the controllers alone, and does its work all the same.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

from controller.agents import Agents
from hotswap.errors import HotswapError
from hotswap.mirror import Mirror
from hotswap.model import Endpoint, Node, Version
from hotswap.rpc import agent_pb2
from hotswap.store import Fence, Store, Stored

RETRY_AFTER = 0.2
"""Seconds before an agent that did not answer is called again."""
ANSWER_LIMIT = 5.0
"""Seconds from when the endpoints stand, for which agents are waited for to answer."""


class StartFailed(Exception):
    """The version does not start, for the reason that is the message."""


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

    async def result(self, names: set[str]) -> int | StartFailed:
        """The revision of the last endpoint on these nodes, or why there is none.

        Returned, not raised, since it passes through the task groups of those who called.
        """
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(self._hurry(name), name=f"apply on {name}") for name in sorted(names)]
            complete = asyncio.create_task(self._until_complete(names, calls), name="complete")
            waits: list[asyncio.Future[Any]] = [complete, self._failure]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (complete, *calls):
                    task.cancel()
                await asyncio.wait([complete])
        return StartFailed(self._failure.result()) if self._failure.done() else complete.result()

    async def _until_complete(self, names: set[str], calls: list[asyncio.Task[None]]) -> int:
        await self._until_ready(names)
        if calls:
            await asyncio.wait(calls, timeout=ANSWER_LIMIT)
        while True:
            await self._until_ready(names)
            published = await self._store.endpoints.list(self._version.function, self._version.number)
            if self._complete(names, published):
                return max((stored.mod_revision for stored in published), default=0)
            await asyncio.sleep(RETRY_AFTER)  # the store is ahead of what its watch has told

    async def _until_ready(self, names: set[str]) -> None:
        """As far as the watches have told."""
        waits = [
            asyncio.create_task(mirror.until(lambda _: self._complete(names, self._endpoints)))
            for mirror in (self._endpoints, self._nodes)
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _complete(self, names: set[str], endpoints: Iterable[Stored[Endpoint]]) -> bool:
        """Every node that is left has all of its instances; with none left, somebody else has to serve."""
        left = {name for name in names if self._node(name)}
        ready = Counter(stored.value.node for stored in endpoints if not stored.value.withdrawn)
        if not left:
            return self._elsewhere and bool(ready)
        return all(ready[name] >= self._version.manifest.min_instances for name in left)

    def _node(self, name: str) -> Node | None:
        stored = self._nodes.get(self._store.nodes.key(name))
        return stored.value if stored else None

    async def _hurry(self, name: str) -> None:
        """Calls the agent until it has answered in full; one that is away is called again for as long as it lives."""
        while node := self._node(name):
            try:
                if await self._call(node):
                    return
            except HotswapError:  # the assignment is in the store: the agent comes to it without this call
                pass
            await asyncio.sleep(RETRY_AFTER)

    async def _call(self, node: Node) -> bool:
        assignment = await self._store.assignments.get(node.name, self._version.function)
        if assignment is None:
            return False
        async for progress in self._agents.apply(node, assignment, self._fence):
            if progress.version == self._version.number and progress.state == agent_pb2.INSTANCE_STATE_FAILED:
                self._fail(f"version {self._version.number} does not start on {node.name}: {progress.text}")
        return True

    def _fail(self, why: str) -> None:
        if not self._failure.done():
            self._failure.set_result(why)
