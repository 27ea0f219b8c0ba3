"""Changing versions on a node: the new one serves, and the routers know it, before the old one goes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from hotswap import errors
from hotswap.model import Endpoint, Router
from hotswap.rpc import agent_pb2, wire
from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, until

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
LABELLED = "def handler(event, context):\n    return context.function_version\n"
SLOW = """
    import asyncio

    async def handler(event, context):
        await asyncio.sleep(event)
        return "finished"
"""


@dataclass
class AdminPort:
    """Of a router that has applied all revisions up to `revision`."""

    revision: int = 0
    asked: list[int] = field(default_factory=list)

    async def applied(self, request: web.Request) -> web.Response:
        revision = int(request.query["revision"])
        self.asked.append(revision)
        status = 200 if revision <= self.revision else 202
        return web.json_response({"aliases": 0, "endpoints": self.revision}, status=status)


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path, etcd) as found:
        await found.start()
        for number in (1, 2):
            await found.publish(number, {"app.py": LABELLED}, HANDLER)
        await found.publish(3, {"app.py": SLOW}, HANDLER)
        yield found


@pytest_asyncio.fixture
async def a_router(a_node: NodeUnderTest) -> AsyncIterator[AdminPort]:
    port = AdminPort(revision=1 << 40)
    app = web.Application()
    app.router.add_get("/applied", port.applied)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = "{}:{}".format(*runner.addresses[0])
    await a_node.store.transaction().create(Router(name="r", address="127.0.0.1:1", admin=address, boot="b")).commit()
    yield port
    await runner.cleanup()


async def serving(a_node: NodeUnderTest, version: int) -> Endpoint:
    await a_node.assign({version: 1})
    [endpoint] = await a_node.endpoints(version)
    return endpoint


async def test_the_old_version_goes_only_when_the_routers_know_the_new_one(
    a_node: NodeUnderTest, a_router: AdminPort
) -> None:
    old = await serving(a_node, 1)
    a_router.revision = 0
    new = await serving(a_node, 2)

    async def asked() -> list[int]:
        return a_router.asked

    await until(asked)
    assert [it.value for it in await a_node.store.endpoints.list("echo", 1)] == [old]
    assert (await a_node.invoke(old, {}))[1] == "1"
    assert (await a_node.invoke(new, {}))[1] == "2"
    a_router.revision = 1 << 40
    await a_node.endpoints(1, count=0)
    await until(lambda: only(a_node, 2))


async def only(a_node: NodeUnderTest, version: int) -> bool:
    return [status.version for status in await a_node.status()] == [version]


async def test_a_swap_tells_its_steps_in_order(a_node: NodeUnderTest, a_router: AdminPort) -> None:
    await serving(a_node, 1)
    revision = await a_node.assign({2: 1})
    request = agent_pb2.SwapRequest(fence=5, function="echo", from_version=1, to_version=2, revision=revision)
    told = [it async for it in (await a_node.stub()).Swap(request)]
    states = [(it.version, agent_pb2.InstanceState.Name(it.state).removeprefix("INSTANCE_STATE_")) for it in told]
    assert states.index((2, "READY")) < states.index((1, "DRAINING")) < states.index((1, "STOPPED"))
    ready = next(it for it in told if it.version == 2 and it.state == agent_pb2.INSTANCE_STATE_READY)
    withdrawn = next(it for it in told if it.version == 1 and it.revision and it.state != ready.state)
    assert revision < ready.revision < withdrawn.revision
    assert await only(a_node, 2)


async def test_what_is_in_flight_is_finished_before_its_instance_ends(a_node: NodeUnderTest) -> None:
    old = await serving(a_node, 3)
    running = asyncio.create_task(a_node.invoke(old, 8.0))

    async def connected() -> bool:
        return bool(connections_to(old))

    await until(connected)
    await a_node.assign({1: 1})
    await a_node.endpoints(3, count=0)
    assert not running.done()
    assert (await running)[:2] == (200, "finished")
    await until(lambda: only(a_node, 1))


def connections_to(endpoint: Endpoint) -> list[str]:
    port = f":{int(endpoint.address.rpartition(':')[2]):04X} "
    rows = Path("/proc/net/tcp").read_text().splitlines()
    return [row for row in rows if port in row.split(" 00000000:")[0] and " 01 " in row]


async def test_draining_has_an_end(a_node: NodeUnderTest) -> None:
    await a_node.publish(4, {"app.py": SLOW}, HANDLER + 'drain_timeout = "200ms"')
    old = await serving(a_node, 4)
    running = asyncio.create_task(a_node.invoke(old, 60))

    async def connected() -> bool:
        return bool(connections_to(old))

    await until(connected)
    await a_node.assign({})
    await a_node.empty()
    with pytest.raises(Exception, match=r"disconnected|reset"):
        await running


async def test_apply_tells_until_all_are_ready(a_node: NodeUnderTest) -> None:
    revision = await a_node.assign({1: 2})
    request = agent_pb2.ApplyRequest(fence=1, function="echo", versions={1: 2}, revision=revision)
    told = [it async for it in (await a_node.stub()).Apply(request)]
    ready = {it.instance for it in told if it.state == agent_pb2.INSTANCE_STATE_READY}
    assert ready == {endpoint.instance for endpoint in await a_node.endpoints(1, count=2)}
    assert all(it.node == "node-1" for it in told)


async def test_applying_again_leads_to_the_same_end(a_node: NodeUnderTest) -> None:
    revision = await a_node.assign({1: 1})
    request = agent_pb2.ApplyRequest(fence=1, function="echo", versions={1: 1}, revision=revision)
    stub = await a_node.stub()
    first = [it async for it in stub.Apply(request)]
    again = [it async for it in stub.Apply(request)]
    assert again[-1].instance == first[-1].instance
    assert again[-1].state == agent_pb2.INSTANCE_STATE_READY


async def test_fewer_instances_are_taken_away_one_by_one(a_node: NodeUnderTest) -> None:
    await a_node.assign({1: 3})
    before = await a_node.endpoints(1, count=3)
    await a_node.assign({1: 1})
    [left] = await a_node.endpoints(1)
    assert left in before


async def test_two_versions_run_beside_each_other(a_node: NodeUnderTest) -> None:
    await a_node.assign({1: 1, 2: 2})
    await a_node.endpoints(1)
    await a_node.endpoints(2, count=2)


async def test_drain_takes_away_what_waits_for_its_successor(a_node: NodeUnderTest) -> None:
    await a_node.publish(4, {"app.py": "import nothing_like_it"}, HANDLER)
    await serving(a_node, 1)
    await a_node.assign({4: 1})
    told = [it async for it in (await a_node.stub()).Drain(agent_pb2.DrainRequest(function="echo", version=1))]
    assert told[-1].state == agent_pb2.INSTANCE_STATE_STOPPED
    await a_node.endpoints(1, count=0)


async def test_what_is_assigned_is_not_drained(a_node: NodeUnderTest) -> None:
    await serving(a_node, 1)
    with pytest.raises(errors.Refused, match='version 1 of "echo" is assigned to node "node-1"'), wire.calling("it"):
        async for _ in (await a_node.stub()).Drain(agent_pb2.DrainRequest(function="echo", version=1)):
            pass


async def test_what_etcd_does_not_say_is_not_applied(a_node: NodeUnderTest) -> None:
    await serving(a_node, 1)
    request = agent_pb2.ApplyRequest(fence=1, function="echo", versions={2: 1})
    with pytest.raises(errors.Refused, match="write the assignment first"), wire.calling("it"):
        async for _ in (await a_node.stub()).Apply(request):
            pass


async def test_an_older_assignment_is_refused(a_node: NodeUnderTest) -> None:
    revision = await a_node.assign({1: 1})
    await serving(a_node, 2)
    request = agent_pb2.ApplyRequest(fence=1, function="echo", versions={1: 1}, revision=revision)
    with pytest.raises(errors.Refused, match="is older than"), wire.calling("it"):
        async for _ in (await a_node.stub()).Apply(request):
            pass


async def test_a_leader_that_was_overtaken_is_refused_even_after_a_restart(a_node: NodeUnderTest) -> None:
    await serving(a_node, 1)
    newer = agent_pb2.ApplyRequest(fence=7, function="echo", versions={1: 1})
    assert [it async for it in (await a_node.stub()).Apply(newer)]
    await a_node.kill()
    await a_node.start()
    older = agent_pb2.ApplyRequest(fence=6, function="echo", versions={1: 1})
    with pytest.raises(errors.NotLeader, match="the fence 6 is lower than 7"), wire.calling("it"):
        async for _ in (await a_node.stub()).Apply(older):
            pass
