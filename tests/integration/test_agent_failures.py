"""Functions that cannot start, or do not stay: what is told of them, and how soon."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from hotswap.rpc import agent_pb2
from hotswap.runtimes import HERE
from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, until

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
FINE = "def handler(event, context):\n    return event\n"


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path, etcd) as found:
        await found.start()
        yield found


async def outcome(a_node: NodeUnderTest, versions: dict[int, int]) -> agent_pb2.InstanceProgress:
    """The last that `Apply` tells."""
    revision = await a_node.assign(versions)
    stub = await a_node.stub()
    request = agent_pb2.ApplyRequest(fence=1, function="echo", versions=versions, revision=revision)
    told = [progress async for progress in stub.Apply(request)]
    return told[-1]


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (HANDLER, "import a_module_that_nobody_has", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        (HANDLER, "def other(): ...", "module 'app' has no attribute 'handler'"),
        (HANDLER, "handler = 5", "app:handler is a int, which cannot be called"),
        (HANDLER, "def handler(:", "SyntaxError: invalid syntax"),
        (
            HANDLER,
            FINE + "def init(context):\n    raise OSError('no model file')",
            "init(context) failed: OSError: no model",
        ),
        (HANDLER, "import sys\nsys.exit('not today')", "SystemExit: not today"),
        ('kind = "http"\nentrypoint = ["./nothing-here"]', "", 'the command "./nothing-here" cannot be run'),
    ],
)
async def test_a_function_that_cannot_start_has_failed_at_once(
    a_node: NodeUnderTest, settings: str, code: str, said: str
) -> None:
    await a_node.publish(1, {"app.py": code}, settings)
    last = await outcome(a_node, {1: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert said in last.text
    assert not await a_node.store.endpoints.list("echo", 1)


async def test_an_application_that_refuses_to_start_has_failed(a_node: NodeUnderTest) -> None:
    code = """
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "the database is away"})
    """
    await a_node.publish(1, {"app.py": code}, 'kind = "asgi"\nentrypoint = "app:app"')
    last = await outcome(a_node, {1: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert "the application refused to start" in last.text
    assert "the database is away" in last.text


async def test_what_is_not_ready_in_time_is_ended_and_tried_again(a_node: NodeUnderTest) -> None:
    code = "import time\nprint('loading', flush=True)\ntime.sleep(60)\n"
    await a_node.publish(1, {"app.py": code}, HANDLER + 'start_timeout = "1500ms"')
    await a_node.assign({1: 1})

    async def told() -> agent_pb2.InstanceStatus | None:
        """Of a try that came as far as to print: on a busy machine the first may not have begun in time."""
        return next((one for one in await a_node.status() if one.restarts and "loading" in one.last_exit), None)

    status = await until(told)
    assert "not ready after 1.5 s" in status.last_exit


async def test_a_sample_payload_that_is_answered_with_an_error_keeps_the_instance_out(a_node: NodeUnderTest) -> None:
    code = "def handler(event, context):\n    raise ValueError('cannot do ' + event['what'])\n"
    await a_node.publish(1, {"app.py": code}, HANDLER + 'sample_payload = { what = "this" }')
    last = await outcome(a_node, {1: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert "the sample payload is answered with 500" in last.text
    assert "cannot do this" in last.text


async def test_a_program_that_ends_before_it_listens_becomes_a_crash_loop(a_node: NodeUnderTest) -> None:
    await a_node.publish(1, {"app.py": ""}, 'kind = "http"\nentrypoint = ["sh", "-c", "echo no config; exit 7"]')
    last = await outcome(a_node, {1: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert "exited with code 7 before it was ready" in last.text
    assert "no config" in last.text
    assert "failure 5 in a row" in last.text


async def test_an_instance_that_dies_is_withdrawn_at_once_and_replaced(a_node: NodeUnderTest) -> None:
    await a_node.publish(1, {"app.py": FINE}, HANDLER)
    await a_node.assign({1: 1})
    [before] = await a_node.endpoints(1)
    [status] = await a_node.status()
    os.kill(status.pid, signal.SIGSEGV)

    async def replaced() -> agent_pb2.InstanceStatus | None:
        [now] = await a_node.status()
        return now if now.state == agent_pb2.INSTANCE_STATE_READY and now.pid != status.pid else None

    after = await until(replaced)
    assert after.last_exit == "was killed by SIGSEGV"
    assert after.restarts == 1
    [endpoint] = await a_node.endpoints(1)
    assert endpoint.instance != before.instance
    assert (await a_node.invoke(endpoint, 1))[:2] == (200, 1)


async def test_an_instance_that_uses_too_much_memory_is_killed_and_the_cause_told(a_node: NodeUnderTest) -> None:
    code = """
        KEPT = []

        def handler(event, context):
            KEPT.append(bytearray(event << 20))
            return len(KEPT)
    """
    await a_node.publish(1, {"app.py": code}, HANDLER + "memory = 100")
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    with suppress(aiohttp.ClientError):  # it may be killed before it has answered
        await a_node.invoke(endpoint, 200)

    async def killed() -> agent_pb2.InstanceStatus | None:
        return next((one for one in await a_node.status() if one.last_exit), None)

    assert "MiB of memory; 100 MiB are allowed" in (await until(killed)).last_exit


@pytest.mark.parametrize("message", ['"\\udcff"', '"x" * 2_000_000'], ids=["no text", "too long"])
async def test_what_a_version_says_of_its_failure_ends_nothing_else(a_node: NodeUnderTest, message: str) -> None:
    await a_node.publish(1, {"app.py": FINE}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    await a_node.publish(2, {"app.py": f"raise ValueError({message})"}, HANDLER)
    last = await outcome(a_node, {1: 1, 2: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert "ValueError" in last.text
    assert (await a_node.invoke(endpoint, 1))[0] == 200


async def test_a_version_that_does_not_exist_has_failed(a_node: NodeUnderTest) -> None:
    last = await outcome(a_node, {9: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert 'version 9 of "echo" does not exist' in last.text


async def test_packages_for_another_machine_are_told_as_that(a_node: NodeUnderTest) -> None:
    wheel = {"parcel-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_17_another\n"}
    await a_node.publish(1, {"app.py": FINE}, HANDLER, packages={"parcel.py": "", **wheel})
    last = await outcome(a_node, {1: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert f"its packages do not fit this node, which is {HERE}" in last.text
    assert "parcel-1.0 for cp311-cp311-manylinux_2_17_another" in last.text
    code = 'import os, socket\ns = socket.create_server(("", int(os.environ["PORT"])))\nwhile True: s.accept()\n'
    await a_node.publish(2, {"run.py": code}, 'kind = "http"\nentrypoint = ["python3", "run.py"]\n', packages=wheel)
    await a_node.assign({2: 1})
    assert await a_node.endpoints(2), "what a program needs is its own affair"


async def test_an_artifact_that_was_tampered_with_is_refused(a_node: NodeUnderTest) -> None:
    version = await a_node.publish(1, {"app.py": FINE}, HANDLER)
    path = a_node.controller.folder / version.artifact
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    last = await outcome(a_node, {1: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert "it is refused" in last.text
    assert not list((a_node.state_dir / "artifacts").iterdir())


async def test_an_artifact_that_is_larger_than_it_should_be_is_not_read_on(a_node: NodeUnderTest) -> None:
    version = await a_node.publish(1, {"app.py": FINE}, HANDLER)
    path = a_node.controller.folder / version.artifact
    path.write_bytes(path.read_bytes() + bytes(1 << 20))
    last = await outcome(a_node, {1: 1})
    assert "arrived from" in last.text
    assert f"as {version.size + 1} bytes" in last.text


async def test_a_fetch_that_was_cut_off_goes_on_where_it_was(a_node: NodeUnderTest) -> None:
    a_node.controller.cut_after = 3000
    await a_node.publish(1, {"app.py": FINE, "filling": secrets.token_hex(5000)}, HANDLER)
    await a_node.assign({1: 1})
    await a_node.endpoints(1)
    assert a_node.controller.offsets == [0, 3000]


async def test_a_fetch_that_an_agent_had_begun_goes_on_with_the_next_one(a_node: NodeUnderTest) -> None:
    version = await a_node.publish(1, {"app.py": FINE, "filling": secrets.token_hex(5000)}, HANDLER)
    content = (a_node.controller.folder / version.artifact).read_bytes()
    (a_node.state_dir / "artifacts" / f".{version.artifact}.part").write_bytes(content[:2000])
    await a_node.assign({1: 1})
    await a_node.endpoints(1)
    assert a_node.controller.offsets == [2000]


async def test_what_was_fetched_before_and_is_damaged_is_fetched_anew(a_node: NodeUnderTest) -> None:
    version = await a_node.publish(1, {"app.py": FINE, "filling": secrets.token_hex(5000)}, HANDLER)
    (a_node.state_dir / "artifacts" / f".{version.artifact}.part").write_bytes(bytes(2000))
    await a_node.assign({1: 1})
    await a_node.endpoints(1)
    assert a_node.controller.offsets == [2000, 0]


async def test_instances_of_one_artifact_share_one_fetch(a_node: NodeUnderTest) -> None:
    version = await a_node.publish(1, {"app.py": FINE}, HANDLER)
    await a_node.assign({1: 3})
    await a_node.endpoints(1, count=3)
    assert a_node.controller.fetches == [version.artifact]


async def test_what_is_in_the_cache_starts_without_a_controller(a_node: NodeUnderTest) -> None:
    await a_node.publish(1, {"app.py": FINE}, HANDLER)
    await a_node.assign({1: 1})
    await a_node.endpoints(1)
    await a_node.assign({})
    await a_node.endpoints(1, count=0)
    leader = await a_node.store.leader.get("controller")
    assert leader is not None
    await a_node.store.transaction().delete(leader).commit()
    await a_node.assign({1: 2})
    await a_node.endpoints(1, count=2)


async def test_a_version_that_fails_takes_nothing_from_the_one_that_works(a_node: NodeUnderTest) -> None:
    await a_node.publish(1, {"app.py": FINE}, HANDLER)
    await a_node.publish(2, {"app.py": "import nothing_like_it"}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    last = await outcome(a_node, {2: 1})
    assert last.state == agent_pb2.INSTANCE_STATE_FAILED
    assert (await a_node.invoke(endpoint, 1))[:2] == (200, 1)
    assert await a_node.endpoints(1) == [endpoint]
    await asyncio.wait_for(outcome(a_node, {1: 1}), 10)
    assert [one.version for one in await a_node.status()] == [1]
