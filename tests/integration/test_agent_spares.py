"""Processes that are forked ahead: who takes one has what a new interpreter would have, and none is left behind."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from agent import cgroups
from agent.cgroups import Groups
from hotswap.model import Endpoint
from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, shown, until

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
STATE = """
    import asyncio, logging, os, random, signal, sys, threading, uuid

    LOOP = type(asyncio.get_event_loop()).__module__
    AT_IMPORT = {
        "threads": threading.active_count(),
        "path": sys.path[2:],
        "signals": [str(signal.getsignal(it)) for it in (signal.SIGINT, signal.SIGHUP)],
        "groups": len(open("/proc/self/cgroup").read().splitlines()),
        "session": os.getsid(0) == os.getpid(),
        "folder": os.getcwd(),
        "tasks": len(os.listdir("/proc/self/task")),
    }

    def opened():
        for number in os.listdir("/proc/self/fd"):
            try:
                link = os.readlink(f"/proc/self/fd/{number}")
            except FileNotFoundError:  # of the list itself
                continue
            yield "a file" if link.startswith("/") and link != "/dev/null" else link.partition("[")[0]

    def handler(event, context):
        if event == "random":
            return [random.random(), str(uuid.uuid4())]
        if event == "pid":
            return os.getpid()
        return AT_IMPORT | {
            "loop": LOOP,
            "descriptors": sorted(opened()),
            "environment": sorted(os.environ),
            "handlers": [len(logging.getLogger(name).handlers) for name in ("", "uvicorn", "uvicorn.error")],
            "threads that answer": threading.active_count(),
        }
"""
GROUPS = """
    def handler(event, context):
        return open("/proc/self/cgroup").read()
"""


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path, etcd) as found:
        yield found


async def told(a_node: NodeUnderTest, endpoint: Endpoint, event: Any = None) -> Any:
    status, answer, _ = await a_node.invoke(endpoint, event)
    assert status == 200
    return answer


async def begun(a_node: NodeUnderTest, version: int = 1) -> Endpoint:
    await a_node.publish(version, {"app.py": STATE}, HANDLER)
    await a_node.assign({version: 1})
    [endpoint] = await a_node.endpoints(version)
    return endpoint


async def test_an_instance_is_the_process_that_waited_and_another_waits_then(a_node: NodeUnderTest) -> None:
    await a_node.start()
    waiting = await a_node.waiting()
    endpoint = await begun(a_node)
    assert await told(a_node, endpoint, "pid") == waiting
    assert f"HOTSWAP_INSTANCE={endpoint.instance}" in shown(waiting, "environ")
    assert f"echo:1 {endpoint.instance}" in shown(waiting, "cmdline")
    assert await a_node.waiting(but=waiting) != waiting


async def test_one_that_waited_is_as_a_new_interpreter_is(a_node: NodeUnderTest) -> None:
    await a_node.start(zygote=False)
    executed = await told(a_node, await begun(a_node))
    await a_node.assign({})
    await a_node.empty()
    await a_node.kill(signal.SIGTERM)
    await a_node.start()
    waiting = await a_node.waiting()
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    assert await told(a_node, endpoint, "pid") == waiting
    assert await told(a_node, endpoint) == executed


async def test_those_that_waited_have_random_numbers_of_their_own(a_node: NodeUnderTest) -> None:
    await a_node.start()
    numbers = []
    for version in (1, 2, 3):
        waiting = await a_node.waiting()
        endpoint = await begun(a_node, version)
        assert await told(a_node, endpoint, "pid") == waiting
        numbers += await told(a_node, endpoint, "random")
    assert len(set(numbers)) == 6


async def test_where_the_one_that_waits_was_killed_another_is_forked(a_node: NodeUnderTest) -> None:
    await a_node.start()
    waiting = await a_node.waiting()
    os.kill(waiting, signal.SIGKILL)
    endpoint = await begun(a_node)
    assert await told(a_node, endpoint, "pid") != waiting
    await until(lambda: gone(waiting))


async def test_many_at_once_do_not_wait_for_one_that_is_forked_ahead(a_node: NodeUnderTest) -> None:
    await a_node.start()
    waiting = await a_node.waiting()
    await a_node.publish(1, {"app.py": STATE}, HANDLER)
    await a_node.assign({1: 8})
    pids = {await told(a_node, endpoint, "pid") for endpoint in await a_node.endpoints(1, count=8)}
    assert len(pids) == 8
    assert waiting in pids


async def test_it_ends_with_an_agent_that_is_killed_and_its_groups_with_the_next(a_node: NodeUnderTest) -> None:
    await a_node.start()
    waiting = await a_node.waiting()
    await a_node.kill()
    await until(lambda: gone(waiting))
    left = groups(a_node)
    await a_node.start()
    await a_node.waiting()

    async def swept() -> bool:
        return not groups(a_node) & left

    await until(swept)


async def test_it_ends_with_an_agent_that_is_stopped_and_leaves_no_group(a_node: NodeUnderTest) -> None:
    await a_node.start()
    waiting = await a_node.waiting()
    assert await a_node.kill(signal.SIGTERM) == 0
    assert await gone(waiting)
    assert not groups(a_node)


async def test_an_instance_that_waited_stays_in_its_groups_with_the_next_agent(a_node: NodeUnderTest) -> None:
    await a_node.start()
    await a_node.waiting()
    await a_node.publish(1, {"app.py": GROUPS}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    before = await told(a_node, endpoint)
    await a_node.kill()
    await a_node.start()
    await a_node.waiting()
    [again] = await a_node.endpoints(1)
    assert again.instance == endpoint.instance
    assert await told(a_node, again) == before
    await a_node.assign({1: 0})
    await a_node.empty()

    async def one_left() -> bool:  # of the one that waits
        return len(groups(a_node)) <= 1

    await until(one_left)


def groups(a_node: NodeUnderTest) -> set[str]:
    return Groups(cgroups.detect(), a_node.state_dir).names()


async def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
