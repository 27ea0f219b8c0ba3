"""Instances in a sandbox: they serve as all others, and find nothing of each other or of their agent."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from agent import sandbox
from agent.isolation import BOOT
from hotswap.errors import Refused
from hotswap.rpc import agent_pb2
from hotswap.settings import EtcdSettings
from tests.agent_harness import NODE, NodeUnderTest, node, processes_in, until

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
LOOKING = """
    import os, pathlib, tempfile

    def handler(event, context):
        match event["do"]:
            case "read":
                try:
                    return pathlib.Path(event["path"]).read_text(errors="replace")
                except OSError as error:
                    return type(error).__name__
            case "write":
                try:
                    pathlib.Path(event["path"]).write_text("mine")
                    return "written"
                except OSError as error:
                    return type(error).__name__
            case "processes":
                return [int(name) for name in os.listdir("/proc") if name.isdigit()]
            case "here":
                return {"code": os.getcwd(), "tmp": tempfile.gettempdir(), "home": os.environ["HOME"]}
            case "die":
                os.kill(os.getpid(), 9)
"""
STOPPING = """
    import http.server, os, pathlib, signal, sys

    def stop(*_):
        print("was told to stop", flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    address = ("127.0.0.1", int(os.environ["PORT"]))
    http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    if sandbox.chosen("auto") is None:
        pytest.skip("NOT TESTED: bwrap is not here, or may not make namespaces")
    async with node(tmp_path, etcd) as found:
        await found.start(isolation="bwrap")
        found.settings["isolation"] = "bwrap"
        yield found


async def looking(a_node: NodeUnderTest, name: str = "echo", **event: object) -> object:
    [endpoint] = await a_node.endpoints(1, name=name)
    status, answer, _ = await a_node.invoke(endpoint, event)
    assert status == 200, answer
    return answer


async def running(a_node: NodeUnderTest, name: str = "echo", settings: str = "") -> None:
    await a_node.publish(1, {"app.py": LOOKING}, HANDLER + settings, name=name)
    await a_node.assign({1: 1}, name=name)
    await a_node.endpoints(1, name=name)


async def test_a_function_sees_no_file_of_another_nor_of_the_agent(a_node: NodeUnderTest) -> None:
    await running(a_node)
    await running(a_node, name="other")
    here = await looking(a_node, name="other", do="here")
    assert isinstance(here, dict)
    assert "handler" in str(await looking(a_node, name="other", do="read", path=f"{here['code']}/app.py"))
    (Path(here["tmp"]) / "secret").write_text("of the other")
    [endpoint] = await a_node.endpoints(1, name="other")
    record = a_node.state_dir / "instances" / f"{endpoint.instance}.json"
    assert record.exists()
    await a_node.publish(1, {"app.py": "# differs\n" + LOOKING}, HANDLER, name="third")
    for path in (f"{here['tmp']}/secret", record, "/etc/shadow", f"{a_node.state_dir}/fence", "/root/.profile"):
        assert await looking(a_node, do="read", path=str(path)) == "FileNotFoundError"


async def test_a_function_sees_no_process_but_its_own(a_node: NodeUnderTest) -> None:
    await running(a_node)
    assert a_node.agent is not None
    assert await looking(a_node, do="read", path=f"/proc/{a_node.agent.pid}/environ") == "FileNotFoundError"
    pids = await looking(a_node, do="processes")
    assert isinstance(pids, list)
    assert max(pids) < 10


async def test_a_function_writes_into_its_own_folders_and_nowhere_else(a_node: NodeUnderTest) -> None:
    await running(a_node)
    here = await looking(a_node, do="here")
    assert isinstance(here, dict)
    for folder in (here["tmp"], here["home"], "/tmp"):
        assert await looking(a_node, do="write", path=f"{folder}/file") == "written"
    for folder in (here["code"], "/usr", os.path.dirname(BOOT)):
        assert await looking(a_node, do="write", path=f"{folder}/file") == "OSError"
    assert "file" not in os.listdir("/tmp")


async def test_it_is_told_to_stop_as_others_are(a_node: NodeUnderTest) -> None:
    await a_node.publish(1, {"app.py": STOPPING}, 'kind = "http"\nentrypoint = ["python3", "app.py"]')
    await a_node.assign({1: 1})
    await a_node.endpoints(1)
    await a_node.assign({})
    await a_node.empty()
    stub = await a_node.stub()
    printed = [line.text async for line in stub.Logs(agent_pb2.LogsRequest(function="echo"))]
    assert "was told to stop" in printed
    assert not processes_in(a_node.state_dir)


async def test_how_it_ended_is_told_as_of_others(a_node: NodeUnderTest) -> None:
    await running(a_node)
    [endpoint] = await a_node.endpoints(1)
    with suppress(aiohttp.ClientError):
        await a_node.invoke(endpoint, {"do": "die"})

    async def told() -> agent_pb2.InstanceStatus | None:
        return next((one for one in await a_node.status() if one.last_exit), None)

    status = await until(told)
    assert "was killed by SIGKILL" in status.last_exit
    assert status.last_cause == "signal"


async def test_it_outlives_its_agent_and_is_adopted_and_ended_by_the_next(a_node: NodeUnderTest) -> None:
    await running(a_node)
    [endpoint] = await a_node.endpoints(1)
    await a_node.kill()
    assert (await a_node.invoke(endpoint, {"do": "here"}))[0] == 200
    await a_node.start()

    async def adopted() -> bool:
        return [it.state for it in await a_node.status()] == [agent_pb2.INSTANCE_STATE_READY]

    await until(adopted)
    assert [it.instance for it in await a_node.endpoints(1)] == [endpoint.instance]
    assert await a_node.kill(signal.SIGTERM) == 0
    assert processes_in(a_node.state_dir) == []


async def test_the_node_says_how_instances_are_kept_apart(a_node: NodeUnderTest) -> None:
    found = await a_node.store.nodes.get(NODE)
    assert found is not None
    assert found.value.guards["isolation"] == "bwrap"
    assert found.value.guards.keys() >= {"memory", "processes", "cpu", "disk", "files"}


def test_where_it_must_be_had_and_cannot_the_agent_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert sandbox.chosen("process") is None
    assert sandbox.chosen("auto") is None
    with pytest.raises(Refused, match="no bwrap on the PATH"):
        sandbox.chosen("bwrap")
