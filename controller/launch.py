"""One version coming up on its nodes: every agent is hurried along, and the endpoints tell when it is there.

The agents' progress decides only failure; readiness is what the store says, so that a controller that is new, or that
missed a message, sees the same.
"""

import asyncio
from collections import Counter
from typing import Any

from controller.agents import Agents
from hotswap.errors import HotswapError
from hotswap.mirror import Mirror
from hotswap.model import Endpoint, Node, Version
from hotswap.rpc import agent_pb2
from hotswap.store import Fence, Store

RETRY_AFTER = 0.2
"""Seconds before an agent that did not answer is called again."""


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
    ) -> None:
        self._store = store
        self._fence = fence
        self._agents = agents
        self._nodes = nodes
        self._endpoints = endpoints
        self._version = version
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def result(self, names: set[str]) -> int | StartFailed:
        """The revision of the last endpoint on these nodes, or why there is none.

        Returned, not raised, since it passes through the task groups of those who called.
        """
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(self._hurry(name), name=f"apply on {name}") for name in sorted(names)]
            try:
                failure = await self._until_settled(names, tasks)
            finally:
                for call in calls:
                    call.cancel()
        if failure:
            return StartFailed(failure)
        return max((stored.mod_revision for stored in self._endpoints), default=0)

    async def _until_settled(self, names: set[str], tasks: asyncio.TaskGroup) -> str | None:
        waits: list[asyncio.Future[Any]] = [
            tasks.create_task(self._endpoints.until(lambda _: self._complete(names))),
            tasks.create_task(self._nodes.until(lambda _: self._complete(names))),
        ]
        try:
            await asyncio.wait([*waits, self._failure], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self._failure.result() if self._failure.done() else None

    def _complete(self, names: set[str]) -> bool:
        """Every node that is left has all of its instances; with none left, there is nobody to serve."""
        left = {name for name in names if self._node(name)}
        ready = Counter(stored.value.node for stored in self._endpoints if not stored.value.withdrawn)
        return bool(left) and all(ready[name] >= self._version.manifest.min_instances for name in left)

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
