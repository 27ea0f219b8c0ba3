"""Agents that are killed, stopped and started again; and stores that go away."""

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest_asyncio

from agent.records import Records
from agent.sockets import connections
from hotswap.etcd.local import LocalEtcd
from hotswap.model import Endpoint
from hotswap.rpc import agent_pb2
from hotswap.settings import EtcdSettings
from tests.agent_harness import NODE, NodeUnderTest, node, processes_in, until
from tests.etcd_admin import Admin

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
PID = """
    import os, subprocess, sys

    CHILD = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    async def handler(event, context):
        import asyncio
        await asyncio.sleep(event.get("wait", 0))
        return os.getpid()
"""


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path, etcd) as found:
        yield found


async def serving(a_node: NodeUnderTest, count: int = 2) -> list[Endpoint]:
    await a_node.start()
    await a_node.publish(1, {"app.py": PID}, HANDLER)
    await a_node.assign({1: count})
    return await a_node.endpoints(1, count=count)


async def test_instances_outlive_an_agent_that_is_killed_and_are_adopted(a_node: NodeUnderTest) -> None:
    endpoints = await serving(a_node)
    pids = [(await a_node.invoke(endpoint, {}))[1] for endpoint in endpoints]
    await a_node.kill()
    assert [(await a_node.invoke(endpoint, {}))[1] for endpoint in endpoints] == pids
    await a_node.start()

    async def adopted() -> bool:
        status = await a_node.status()
        return all(it.state == agent_pb2.INSTANCE_STATE_READY for it in status) and len(status) == 2

    await until(adopted)
    assert sorted(it.pid for it in await a_node.status()) == sorted(pids)
    assert sorted(it.address for it in await a_node.endpoints(1, count=2)) == sorted(it.address for it in endpoints)


async def test_an_adopted_instance_that_dies_is_replaced(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node, 1)
    _, pid, _ = await a_node.invoke(endpoint, {})
    await a_node.kill()
    await a_node.start()
    os.kill(pid, signal.SIGKILL)

    async def replaced() -> bool:
        return any(
            it.pid not in (0, pid) and it.state == agent_pb2.INSTANCE_STATE_READY for it in await a_node.status()
        )

    await until(replaced)
    [status] = await a_node.status()
    assert "ended; how is not known" in status.last_exit


async def test_what_died_while_there_was_no_agent_is_replaced(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node, 1)
    _, pid, _ = await a_node.invoke(endpoint, {})
    await a_node.kill()
    os.kill(pid, signal.SIGKILL)
    await a_node.start()

    async def replaced() -> bool:
        found = await a_node.store.endpoints.list("echo", 1)
        return bool(found) and found[0].value.instance != endpoint.instance

    await until(replaced)


async def test_a_process_that_only_has_the_recorded_pid_is_left_alone(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node, 1)
    _, pid, _ = await a_node.invoke(endpoint, {})
    await a_node.kill()
    records = Records(a_node.state_dir / "instances")
    [record] = records.all()
    bystander = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    try:
        assert record.process is not None
        wrong = dataclasses.replace(record.process, pid=bystander.pid)
        records.write(msgspec.structs.replace(record, process=wrong))
        os.kill(pid, signal.SIGKILL)
        await a_node.start()
        await until(lambda: ready(a_node))
        assert bystander.returncode is None
    finally:
        bystander.kill()
        await bystander.wait()


async def ready(a_node: NodeUnderTest) -> bool:
    return any(it.state == agent_pb2.INSTANCE_STATE_READY for it in await a_node.status())


async def test_an_instance_that_was_starting_when_the_agent_died_is_ended(a_node: NodeUnderTest) -> None:
    await a_node.start()
    await a_node.publish(1, {"app.py": "import time\ntime.sleep(600)\n"}, HANDLER + 'start_timeout = "10m"')
    revision = await a_node.assign({1: 1})
    assert revision

    async def starting() -> list[int]:
        return [it.process.pid for it in Records(a_node.state_dir / "instances").all() if it.process]

    [pid] = await until(starting)
    await a_node.kill()
    await a_node.assign({})
    await a_node.start()

    async def ended() -> bool:
        return pid not in processes_in(a_node.state_dir)

    await until(ended)


async def test_nothing_is_left_after_sigterm(a_node: NodeUnderTest) -> None:
    endpoints = await serving(a_node)
    assert len(processes_in(a_node.state_dir)) == 4
    assert await a_node.kill(signal.SIGTERM) == 0
    assert processes_in(a_node.state_dir) == []
    assert not await a_node.store.endpoints.list()
    assert not await a_node.store.nodes.list()
    assert list((a_node.state_dir / "instances").iterdir()) == []
    assert list((a_node.state_dir / "rooms").iterdir()) == []
    for endpoint in endpoints:
        host, _, port = endpoint.address.rpartition(":")
        with suppress(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))
            raise AssertionError(f"{endpoint.address} still takes connections")


async def test_sigterm_lets_what_is_in_flight_finish(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node, 1)
    running = asyncio.create_task(a_node.invoke(endpoint, {"wait": 1}))
    await asyncio.sleep(0)
    await until(lambda: in_flight(a_node, endpoint))
    assert await a_node.kill(signal.SIGTERM) == 0
    assert (await running)[0] == 200


async def in_flight(a_node: NodeUnderTest, endpoint: Endpoint) -> bool:
    return connections(int(endpoint.address.rpartition(":")[2])) > 0


async def test_a_second_sigterm_hurries(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node, 1)
    running = asyncio.create_task(a_node.invoke(endpoint, {"wait": 600}))
    await until(lambda: in_flight(a_node, endpoint))
    assert a_node.agent is not None
    a_node.agent.send_signal(signal.SIGTERM)
    await a_node.endpoints(1, count=0)
    assert await a_node.kill(signal.SIGTERM) == 0
    assert processes_in(a_node.state_dir) == []
    running.cancel()


async def test_instances_may_be_left_to_the_next_agent(a_node: NodeUnderTest) -> None:
    a_node.settings["keep_instances"] = True
    [endpoint] = await serving(a_node, 1)
    _, pid, _ = await a_node.invoke(endpoint, {})
    assert await a_node.kill(signal.SIGTERM) == 0
    assert (await a_node.invoke(endpoint, {}))[1] == pid
    assert [it.value for it in await a_node.store.endpoints.list()] == [endpoint]
    await a_node.start()
    await until(lambda: ready(a_node))
    assert [it.pid for it in await a_node.status()] == [pid]


async def test_two_agents_do_not_share_a_state_directory(a_node: NodeUnderTest) -> None:
    await a_node.start()
    first = a_node.agent
    with suppress(AssertionError):
        await a_node.start()
    assert a_node.agent is not first
    assert await a_node.gone() != 0
    assert "another agent works in" in a_node.log
    assert first is not None
    first.terminate()
    first.wait()


async def test_a_lost_lease_is_replaced_and_all_is_announced_again(tmp_path: Path, private_etcd: LocalEtcd) -> None:
    settings = EtcdSettings(endpoints=(private_etcd.endpoint,))
    async with node(tmp_path / "node", settings) as a_node:
        [endpoint] = await serving(a_node, 1)
        before = await a_node.store.endpoints.get("echo", 1, endpoint.instance)
        assert before is not None
        revoke_all(private_etcd)

        async def again() -> bool:
            found = await a_node.store.endpoints.get("echo", 1, endpoint.instance)
            known = await a_node.store.nodes.get(NODE)
            return bool(known and found and found.create_revision > before.create_revision)

        await until(again, limit=30)
        assert (await a_node.invoke(endpoint, {}))[0] == 200


async def test_instances_go_on_and_are_replaced_while_the_store_is_away(
    tmp_path: Path, private_etcd: LocalEtcd
) -> None:
    settings = EtcdSettings(endpoints=(private_etcd.endpoint,))
    async with node(tmp_path / "node", settings) as a_node:
        first, second = await serving(a_node, 2)
        _, pid, _ = await a_node.invoke(second, {})
        stub = await a_node.stub()
        await private_etcd.kill()
        os.kill(pid, signal.SIGKILL)

        async def replaced() -> bool:
            status: agent_pb2.StatusResponse = await stub.Status(agent_pb2.StatusRequest())
            return len([it.pid for it in status.instances if it.pid not in (0, pid)]) == 2

        await until(replaced)
        assert (await a_node.invoke(first, {}))[0] == 200
        await private_etcd.start()

        async def announced() -> bool:
            found = {it.value.instance for it in await a_node.store.endpoints.list("echo", 1)}
            return len(found) == 2 and first.instance in found and second.instance not in found

        await until(announced, limit=40)


def revoke_all(server: LocalEtcd) -> None:
    """Takes every lease of the store away, as time would."""
    admin = Admin(server.endpoint)
    leases = admin.leases()
    assert leases
    for lease in leases:
        admin.revoke(lease)
