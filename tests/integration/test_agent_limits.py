"""Functions that misbehave: their neighbour on the node is not harmed, and they are named with what they did."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import grpc
import pytest

from agent import cgroups
from agent.cgroups import Control, Groups
from hotswap.model import Endpoint
from hotswap.rpc import agent_pb2
from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, processes_in, until

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
NEIGHBOUR = """
    import asyncio

    async def handler(event, context):
        await asyncio.sleep(0.005)
        return event
"""
AT_ONCE = 4
"""Invocations of the neighbour."""

MEMORY = """
    KEPT = []

    def handler(event, context):
        while True:
            KEPT.append(bytearray(8 << 20))
"""
MEMORY_AT_ONCE = """
    import time

    KEPT = [bytearray(8 << 20) for _ in range(32)]
    time.sleep(600)
"""
FORKS = """
    import os, time

    def handler(event, context):
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(600)
            except OSError:
                time.sleep(0.1)
"""
DISK = """
    import os, tempfile

    def handler(event, context):
        number = 0
        while True:
            number += 1
            with open(f"{tempfile.gettempdir()}/{number}", "wb") as file:
                file.write(bytes(1 << 20))
"""
SOCKETS = """
    import socket

    KEPT = []

    def handler(event, context):
        try:
            for _ in range(10_000):
                KEPT.append(socket.socket())
        except OSError as error:
            return [len(KEPT), str(error)]
"""
CHILDREN = """
    import os, signal, subprocess, sys

    FOREVER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"

    def handler(event, context):
        for _ in range(5):
            subprocess.Popen([sys.executable, "-c", FOREVER], start_new_session=True, env={}, cwd=event)
        os.kill(os.getpid(), signal.SIGKILL)
"""
STUBBORN = """
    import http.server, os, signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    address = ("127.0.0.1", int(os.environ["PORT"]))
    http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""
CLOSES = """
    import os

    def handler(event, context):
        if event == "close":
            os.close(1)
            os.close(2)
        print("said", event)
        return "fine"
"""
PRINTS = """
    def handler(event, context):
        line = "x" * 1023
        for _ in range(event):
            print(line)
        return "printed"
"""


@asynccontextmanager
async def beside_a_neighbour(
    folder: Path, etcd: EtcdSettings, code: str, settings: str, *, cgroups: bool = True
) -> AsyncIterator[tuple[NodeUnderTest, Endpoint]]:
    """A node with the function `hog`; at the end every invocation of its neighbour must have been answered."""
    async with node(folder, etcd) as a_node:
        await a_node.start(cgroups=cgroups)
        await a_node.publish(1, {"app.py": NEIGHBOUR}, HANDLER, name="neighbour")
        await a_node.publish(1, {"app.py": code}, HANDLER + settings, name="hog")
        await a_node.assign({1: 1}, name="neighbour")
        await a_node.assign({1: 1}, name="hog")
        [neighbour] = await a_node.endpoints(1, name="neighbour")
        [hog] = await a_node.endpoints(1, name="hog")
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            load = [group.create_task(answered(a_node, neighbour, over)) for _ in range(AT_ONCE)]
            try:
                yield a_node, hog
            finally:
                over.set()
        assert all(task.result() > 0 for task in load)
        assert not [one for one in await incidents(a_node) if one.function == "neighbour"]
        assert [one.restarts for one in await a_node.status() if one.function == "neighbour"] == [0]


async def answered(a_node: NodeUnderTest, neighbour: Endpoint, over: asyncio.Event) -> int:
    count = 0
    while not over.is_set():
        assert (await a_node.invoke(neighbour, count))[:2] == (200, count)
        count += 1
    return count


async def incidents(a_node: NodeUnderTest) -> list[agent_pb2.Incident]:
    return list((await (await a_node.stub()).Status(agent_pb2.StatusRequest())).incidents)


async def incident(a_node: NodeUnderTest, cause: str) -> agent_pb2.Incident:
    """Waits for it to be told, of the function that it was, and in what that printed as well."""

    async def told() -> agent_pb2.Incident | None:
        try:
            return next((one for one in await incidents(a_node) if one.cause == cause), None)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return None  # an agent on a slow machine takes no connection for a while

    found = await until(told)
    assert (found.function, found.version) == ("hog", 1)
    stub = await a_node.stub()
    printed = [line async for line in stub.Logs(agent_pb2.LogsRequest(function="hog"))]
    assert any(line.request == "!" and found.text in line.text for line in printed)
    return found


async def attempt(a_node: NodeUnderTest, hog: Endpoint, event: object) -> None:
    """It may end before it has answered."""
    with suppress(aiohttp.ClientError):
        await a_node.invoke(hog, event)


def kept_by_the_kernel(folder: Path, control: Control) -> None:
    if not Groups(cgroups.detect(), folder).guard(control):
        pytest.skip(f"NOT TESTED: this machine lets us have no control groups for {control}")


@pytest.mark.parametrize("kernel", [True, False], ids=["cgroup", "watchdog"])
async def test_one_that_eats_memory_is_killed(tmp_path: Path, etcd: EtcdSettings, *, kernel: bool) -> None:
    if kernel:
        kept_by_the_kernel(tmp_path, Control.MEMORY)
    async with beside_a_neighbour(tmp_path / "node", etcd, MEMORY, "memory = 100", cgroups=kernel) as (a_node, hog):
        await attempt(a_node, hog, None)
        assert "100 MiB are allowed" in (await incident(a_node, "memory")).text


@pytest.mark.parametrize("kernel", [True, False], ids=["cgroup", "watchdog"])
async def test_one_that_eats_memory_while_it_starts_is_killed(
    tmp_path: Path, etcd: EtcdSettings, *, kernel: bool
) -> None:
    if kernel:
        kept_by_the_kernel(tmp_path, Control.MEMORY)
    async with node(tmp_path / "node", etcd) as a_node:
        await a_node.start(cgroups=kernel)
        await a_node.publish(
            1, {"app.py": MEMORY_AT_ONCE}, HANDLER + "memory = 100\nstart_timeout = '600s'", name="hog"
        )
        await a_node.assign({1: 1}, name="hog")
        assert "100 MiB are allowed" in (await incident(a_node, "memory")).text

        async def failed() -> bool:
            return any(one.last_cause == "memory" for one in await a_node.status())

        await until(failed)


@pytest.mark.parametrize("before", [True, False], ids=["cgroup", "watchdog"])
async def test_one_of_an_earlier_agent_stays_limited(tmp_path: Path, etcd: EtcdSettings, *, before: bool) -> None:
    """Though the next agent gives groups to those that it starts itself."""
    kept_by_the_kernel(tmp_path, Control.MEMORY)
    async with beside_a_neighbour(tmp_path / "node", etcd, MEMORY, "memory = 100", cgroups=before) as (a_node, hog):
        await a_node.kill()
        await a_node.start(cgroups=True)
        assert hog.instance in {one.instance for one in await a_node.status()}
        await attempt(a_node, hog, None)
        found = await incident(a_node, "memory")
        assert (found.instance, "100 MiB are allowed" in found.text) == (hog.instance, True)


@pytest.mark.parametrize("kernel", [True, False], ids=["cgroup", "watchdog"])
async def test_one_that_forks_without_end_gets_no_more(tmp_path: Path, etcd: EtcdSettings, *, kernel: bool) -> None:
    if kernel:
        kept_by_the_kernel(tmp_path, Control.PIDS)
    async with beside_a_neighbour(tmp_path / "node", etcd, FORKS, "processes = 40", cgroups=kernel) as (a_node, hog):
        forking = asyncio.create_task(attempt(a_node, hog, None))
        found = await incident(a_node, "processes")
        assert ("can start no more" if kernel else "56 are allowed") in found.text
        forking.cancel()


async def test_one_that_fills_its_disk_is_killed_and_its_files_are_gone(tmp_path: Path, etcd: EtcdSettings) -> None:
    async with beside_a_neighbour(tmp_path / "node", etcd, DISK, "disk = 20") as (a_node, hog):
        await attempt(a_node, hog, None)
        assert "20 MiB are allowed" in (await incident(a_node, "disk")).text

        async def gone() -> bool:
            return not (a_node.state_dir / "rooms" / hog.instance).exists()

        await until(gone)


async def test_one_that_opens_sockets_without_end_gets_no_more(tmp_path: Path, etcd: EtcdSettings) -> None:
    async with beside_a_neighbour(tmp_path / "node", etcd, SOCKETS, "files = 300") as (a_node, hog):
        status, [opened, why], _ = await a_node.invoke(hog, None)
        assert status == 200
        assert 0 < opened <= 316
        assert "Too many open files" in why
        assert "files and sockets open; 316 are allowed" in (await incident(a_node, "files")).text


async def test_what_one_leaves_behind_ends_with_it(tmp_path: Path, etcd: EtcdSettings) -> None:
    """In sessions of their own, and with nothing in their environment that says whose they are."""
    kept_by_the_kernel(tmp_path, Control.PIDS)
    async with beside_a_neighbour(tmp_path / "node", etcd, CHILDREN, "") as (a_node, hog):
        left = tmp_path / "node" / "left"
        left.mkdir()
        await attempt(a_node, hog, str(left))
        assert "SIGKILL" in (await incident(a_node, "signal")).text
        assert "5 processes were left behind" in (await incident(a_node, "leftovers")).text

        async def ended() -> bool:
            return not [pid for pid in processes_in(tmp_path / "node") if os.readlink(f"/proc/{pid}/cwd") == str(left)]

        await until(ended)


async def test_one_that_ignores_sigterm_is_killed(tmp_path: Path, etcd: EtcdSettings) -> None:
    async with beside_a_neighbour(tmp_path / "node", etcd, "def handler(event, context): ...\n", "") as (a_node, _):
        program = 'kind = "http"\nentrypoint = ["python3", "app.py"]\n'
        await a_node.publish(2, {"app.py": STUBBORN}, program, name="hog")
        await a_node.assign({2: 1}, name="hog")
        await a_node.endpoints(2, name="hog")
        await a_node.assign({}, name="hog")

        async def told() -> agent_pb2.Incident | None:
            return next((one for one in await incidents(a_node) if one.cause == "stubborn"), None)

        found = await until(told)
        assert (found.function, found.version) == ("hog", 2)
        assert "did not end within 5 s of SIGTERM" in found.text


async def test_one_that_closes_its_output_goes_on(tmp_path: Path, etcd: EtcdSettings) -> None:
    async with beside_a_neighbour(tmp_path / "node", etcd, CLOSES, "") as (a_node, hog):
        for event in ("close", "again"):
            assert (await a_node.invoke(hog, event))[:2] == (200, "fine")
        stub = await a_node.stub()
        printed = [line.text async for line in stub.Logs(agent_pb2.LogsRequest(function="hog"))]
        assert printed == ["said close", "said again"]


async def test_one_that_prints_without_end_keeps_a_few_lines(tmp_path: Path, etcd: EtcdSettings) -> None:
    async with beside_a_neighbour(tmp_path / "node", etcd, PRINTS, 'timeout = "600s"') as (a_node, hog):
        assert (await a_node.invoke(hog, 1 << 18))[:2] == (200, "printed")  # 256 MiB
        path = next((a_node.state_dir / "logs/hog/1").iterdir())
        assert path.stat().st_size < 32 << 20
        stub = await a_node.stub()
        printed = [line async for line in stub.Logs(agent_pb2.LogsRequest(function="hog"))]
        assert any(line.request == "!" and "were dropped" in line.text for line in printed)
