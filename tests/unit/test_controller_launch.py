"""A version has started when its endpoints stand and the agents have taken the assignment that asks for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from controller.agents import Agents
from controller.launch import RETRY_AFTER, Complete, Launch, StartFailed
from hotswap.deployment import Leader
from hotswap.errors import Unavailable
from hotswap.memory import MemoryKV
from hotswap.mirror import mirrored
from hotswap.model import Assignment, Endpoint, Node
from hotswap.rpc import agent_pb2
from hotswap.store import Fence, Store, Stored
from tests.controller_walk import BEGIN, version


class Agent:
    """Answers at once, and is done when the test says so."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.done = asyncio.Event()

    async def apply(
        self, node: Node, assignment: Stored[Assignment], fence: Fence
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        yield agent_pb2.InstanceProgress(node=node.name, version=6, state=agent_pb2.INSTANCE_STATE_STARTING)
        self.called.set()
        await self.done.wait()
        yield agent_pb2.InstanceProgress(node=node.name, version=6, state=agent_pb2.INSTANCE_STATE_READY)


class Away:
    def apply(
        self, node: Node, assignment: Stored[Assignment], fence: Fence
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        raise Unavailable("it cannot be reached")


def endpoint(instance: str, *, withdrawn: bool = False) -> Endpoint:
    return Endpoint(
        function="f",
        version=6,
        instance=instance,
        node="n1",
        address="127.0.0.1:9",
        concurrency=1,
        withdrawn=withdrawn,
    )


async def assigned() -> tuple[Store, Fence]:
    store, me = Store(MemoryKV()), Leader(controller="c1", address="", since=BEGIN)
    revision = await (
        store.transaction()
        .create(me)
        .create(Node(name="n1", address="", boot="1"))
        .create(Assignment(node="n1", function="f", versions={6: 1}))
        .create(endpoint("old"))
        .commit()
    )
    return store, Fence(store.key_of(me), revision)


async def launched(store: Store, fence: Fence, agents: Agents) -> Complete | StartFailed:
    async with mirrored(store.nodes) as nodes, mirrored(store.endpoints, "f", 6) as endpoints:
        launch = Launch(
            store=store,
            fence=fence,
            agents=agents,
            nodes=nodes,
            endpoints=endpoints,
            version=version(),
            elsewhere=False,
        )
        return await launch.result({"n1"})


async def replaced(store: Store, change: Callable[[Endpoint], Endpoint], name: str) -> int:
    found = await store.endpoints.get("f", 6, name)
    assert found
    return await store.transaction().replace(found, change(found.value)).commit()


async def test_an_endpoint_that_is_about_to_be_withdrawn_is_not_taken_for_the_version_started() -> None:
    store, fence = await assigned()
    agent = Agent()
    launch = asyncio.create_task(launched(store, fence, agent))
    await agent.called.wait()
    await replaced(store, lambda _: endpoint("old", withdrawn=True), "old")
    agent.done.set()
    await a_while()
    assert not launch.done()
    revision = await store.transaction().create(endpoint("new")).commit()
    assert await launch == Complete(endpoints=revision, nodes=fence.create_revision)


async def test_an_agent_that_answers_is_waited_for_until_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.launch.ANSWER_LIMIT", 0.0)
    store, fence = await assigned()
    agent = Agent()
    launch = asyncio.create_task(launched(store, fence, agent))
    await agent.called.wait()
    await asyncio.wait([launch], timeout=3 * RETRY_AFTER)
    assert not launch.done()
    agent.done.set()
    assert isinstance(await launch, Complete)


async def test_an_agent_that_cannot_be_called_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.launch.ANSWER_LIMIT", 0.1)
    store, fence = await assigned()
    found = await store.endpoints.get("f", 6, "old")
    assert found
    assert await launched(store, fence, Away()) == Complete(endpoints=found.mod_revision, nodes=found.mod_revision)


async def test_what_an_agent_announced_that_is_dead_is_not_taken_for_the_version_started() -> None:
    store, fence = await assigned()
    node, lease = await store.nodes.get("n1"), await store.kv.grant(timedelta(seconds=60))
    assert node
    born = await store.transaction().replace(node, replace(node.value, boot="2"), lease=lease.id).commit()
    agent = Agent()
    agent.done.set()
    launch = asyncio.create_task(launched(store, fence, agent))
    await agent.called.wait()
    await a_while()
    assert not launch.done()
    revision = await store.transaction().create(endpoint("new"), lease=lease.id).commit()
    assert await launch == Complete(endpoints=revision, nodes=born)


async def a_while() -> None:
    """As many turns as the loop needs for all that can go on."""
    for _ in range(100):
        await asyncio.sleep(0)
