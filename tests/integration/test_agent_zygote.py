"""Instances that are forked from the zygote: they are themselves, share nothing that they should not, and end well."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent.processes import children
from agent.runtime import guise
from hotswap.model import Endpoint
from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, shown, until

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
SELF = """
    import os, random, sys, uuid

    def descriptors():
        for number in os.listdir("/proc/self/fd"):
            try:
                yield os.readlink(f"/proc/self/fd/{number}")
            except FileNotFoundError:  # of the list itself
                pass

    def handler(event, context):
        return {
            "pid": os.getpid(),
            "parent": os.getppid(),
            "instance": os.environ["HOTSWAP_INSTANCE"],
            "random": [random.random(), str(uuid.uuid4())],
            "descriptors": list(descriptors()),
            "modules": [name for name in ("wave", "colorsys") if name in sys.modules],
        }
"""
DAEMON = """
    import os, subprocess, sys

    def handler(event, context):
        return int(subprocess.run([sys.executable, "daemon.py"], stdout=subprocess.PIPE).stdout)
"""
LEFT_BEHIND = """
    import os, time

    if os.fork():
        os._exit(0)
    os.setsid()
    print(os.getpid(), flush=True)
    os.close(1)
    time.sleep(600)
"""


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path, etcd) as found:
        yield found


async def serving(a_node: NodeUnderTest, code: str = SELF, *, count: int = 1, **settings: Any) -> list[Endpoint]:
    await a_node.start(**settings)
    await a_node.publish(1, {"app.py": code, "daemon.py": LEFT_BEHIND}, HANDLER)
    await a_node.assign({1: count})
    return await a_node.endpoints(1, count=count)


async def told(a_node: NodeUnderTest, endpoint: Endpoint) -> Any:
    status, answer, _ = await a_node.invoke(endpoint, {})
    assert status == 200
    return answer


async def ended(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "\nState:\tZ" in status.read_text()  # noqa: ASYNC240 - no file of a disk
    except (FileNotFoundError, ProcessLookupError):
        return True


async def waited_for(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def zygote(a_node: NodeUnderTest, *, but: int = 0) -> int:
    """Its pid, once there is one."""

    async def found() -> int | None:
        assert a_node.agent
        waiting = [it for it in children(a_node.agent.pid) if guise.FILLER * guise.ROOM in shown(it, "cmdline")]
        return next((it for it in waiting if it != but), None)

    return await until(found)


async def test_instances_are_children_of_the_agent_and_tell_who_they_are(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node)
    it = await told(a_node, endpoint)
    assert a_node.agent
    assert it["parent"] == a_node.agent.pid
    assert it["instance"] == endpoint.instance
    assert f"HOTSWAP_INSTANCE={endpoint.instance}" in shown(it["pid"], "environ")
    assert f"echo:1 {endpoint.instance}" in shown(it["pid"], "cmdline")
    assert "zygote" in shown(await zygote(a_node), "cmdline")


async def test_forked_instances_have_random_numbers_of_their_own(a_node: NodeUnderTest) -> None:
    endpoints = await serving(a_node, count=3)
    numbers = [number for endpoint in endpoints for number in (await told(a_node, endpoint))["random"]]
    assert len(set(numbers)) == 6


async def test_a_forked_instance_has_the_descriptors_of_a_new_interpreter_and_no_others(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node)
    forked = kinds((await told(a_node, endpoint))["descriptors"])
    await a_node.kill(signal.SIGTERM)
    await a_node.start(zygote=False)
    [endpoint] = await a_node.endpoints(1)
    assert forked == kinds((await told(a_node, endpoint))["descriptors"])


def kinds(links: list[str]) -> list[str]:
    """Without the numbers of sockets and pipes, and the names of files."""
    return sorted(
        "a file" if link.startswith("/") and link != "/dev/null" else link.partition("[")[0] for link in links
    )


async def test_a_zygote_that_was_killed_is_replaced_and_what_it_forked_goes_on(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node)
    before = await told(a_node, endpoint)
    first = await zygote(a_node)
    os.kill(first, signal.SIGKILL)
    await a_node.publish(2, {"app.py": SELF}, HANDLER)
    await a_node.assign({1: 1, 2: 1})
    await a_node.endpoints(2)
    assert (await told(a_node, endpoint))["pid"] == before["pid"]
    assert await zygote(a_node, but=first) != first


async def test_the_zygote_ends_with_an_agent_that_is_killed(a_node: NodeUnderTest) -> None:
    await serving(a_node)
    pid = await zygote(a_node)
    await a_node.kill()
    await until(lambda: ended(pid))


async def test_how_a_forked_instance_ended_is_known(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node)
    os.kill((await told(a_node, endpoint))["pid"], signal.SIGUSR1)

    async def noted() -> bool:
        return any("was killed by SIGUSR1" in it.last_exit for it in await a_node.status())

    await until(noted)


async def test_what_is_preloaded_is_there_and_a_function_that_brings_its_own_has_its_own(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node, preload=["wave", "colorsys"])
    assert (await told(a_node, endpoint))["modules"] == ["wave", "colorsys"]
    own = "import colorsys\ndef handler(event, context):\n    return colorsys.OWN\n"
    await a_node.publish(2, {"app.py": own, "colorsys.py": "OWN = 'of the function'"}, HANDLER)
    await a_node.assign({1: 1, 2: 1})
    [endpoint] = await a_node.endpoints(2)
    assert await told(a_node, endpoint) == "of the function"


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("nobody_has_this", '"nobody_has_this" cannot be preloaded: ModuleNotFoundError'),
        ("concurrent.futures.nothing", '"concurrent.futures.nothing" cannot be preloaded'),
    ],
)
async def test_what_cannot_be_preloaded_is_told_and_left_out(a_node: NodeUnderTest, module: str, why: str) -> None:
    [endpoint] = await serving(a_node, preload=[module])
    await told(a_node, endpoint)
    assert why in a_node.log


async def test_what_an_instance_leaves_behind_is_ended_with_it_and_not_before(a_node: NodeUnderTest) -> None:
    [endpoint] = await serving(a_node, DAEMON)
    daemon = await told(a_node, endpoint)
    other = await told(a_node, endpoint)
    os.kill(other, signal.SIGKILL)
    await until(lambda: waited_for(other))
    assert not await ended(daemon)
    await a_node.assign({1: 0})
    await until(lambda: ended(daemon))

    async def said() -> bool:
        return "was left behind by" in a_node.log

    await until(said)
