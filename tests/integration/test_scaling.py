"""Instances that start when they are needed and sleep when they are not: a real agent behind a real router."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from agent.backoff import CRASH_LOOP
from hotswap.metrics import Count
from hotswap.model import Endpoint
from hotswap.rpc import agent_pb2
from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, processes_in, until
from tests.router_harness import Answer, RouterUnderTest, routing

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
FROM_ZERO = HANDLER + "min_instances = 0\n"
QUICK = FROM_ZERO + 'idle_timeout = "300ms"\n'
WHO = """
    import os

    def handler(event, context):
        return os.getpid()
"""
SLOW = """
    import time

    def handler(event, context):
        time.sleep(0.02)
        return "done"
"""
PATIENT = """
    import asyncio

    async def handler(event, context):
        await asyncio.sleep(event)
"""
ASGI = """
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"awake"})
"""
WSGI = """
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])
        return [b"awake"]
"""
GATED = """
    import os, time

    GATE = os.environ["GATE"]
    while os.path.exists(GATE + ".closed"):
        time.sleep(0.01)
    if os.path.exists(GATE + ".broken"):
        BREAK

    def handler(event, context):
        return os.getpid()
"""
"""Does not start while one of two files is there."""


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path / "node", etcd) as found:
        await found.start()
        yield found


@pytest_asyncio.fixture
async def router(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[RouterUnderTest]:
    async with routing(etcd, tmp_path / "router") as found:
        yield found


async def deployed(
    a_node: NodeUnderTest, router: RouterUnderTest, code: str, settings: str, *, most: int = 1
) -> list[Endpoint]:
    """Version 1, once as many endpoints as it may have instances are there."""
    await a_node.publish(1, {"app.py": code}, settings)
    await a_node.assign({1: most})
    await router.shift("echo", {1: 100})
    return await a_node.endpoints(1, count=most)


async def state(a_node: NodeUnderTest, *wanted: int) -> list[agent_pb2.InstanceStatus]:
    """Waits until every slot is in one of these states; one that sleeps has no process any more."""

    async def reached() -> list[agent_pb2.InstanceStatus]:
        found = await a_node.status()
        sleeps = agent_pb2.INSTANCE_STATE_ASLEEP
        reached = all(it.state in wanted and not (it.state == sleeps and it.pid) for it in found)
        return found if reached else []

    return await until(reached)


async def asleep(a_node: NodeUnderTest) -> list[agent_pb2.InstanceStatus]:
    found = await state(a_node, agent_pb2.INSTANCE_STATE_ASLEEP)
    assert processes_in(a_node.state_dir) == []
    return found


async def invoke(router: RouterUnderTest) -> Answer:
    return await router.call("POST", "/fn/echo", json={})


@asynccontextmanager
async def most_processes(a_node: NodeUnderTest) -> AsyncIterator[list[int]]:
    """How many instances ran, at each look while the context lasted."""
    seen: list[int] = []

    async def count() -> None:
        while True:
            seen.append(len(processes_in(a_node.state_dir)))
            await asyncio.sleep(0.005)

    counting = asyncio.create_task(count())
    try:
        yield seen
    finally:
        counting.cancel()


async def test_a_version_proves_that_it_starts_then_sleeps_and_wakes_for_an_invocation(
    a_node: NodeUnderTest, router: RouterUnderTest
) -> None:
    [first] = await deployed(a_node, router, WHO, QUICK)
    assert not first.standby, "a version that is new on the node is started once"
    [before] = await asleep(a_node)
    [endpoint] = await a_node.endpoints(1)
    assert endpoint.standby
    assert endpoint.address != first.address

    assert (await invoke(router)).status == 200
    [awake] = await a_node.status()
    assert awake.wakes == before.wakes + 1
    assert awake.instance == endpoint.instance
    assert {"ready", "import", "init"} <= awake.start_ms.keys()
    tally = await router.tally("echo")
    assert (tally[Count.OK], tally[Count.COLD]) == (1, 1)
    [slept] = await asleep(a_node)
    assert slept.start_ms.items() >= awake.start_ms.items(), "what its last start took is still known"
    assert "first" in slept.start_ms, "which is noted after the answer has gone out"


async def test_no_invocation_fails_while_instances_fall_asleep_and_wake(
    a_node: NodeUnderTest, router: RouterUnderTest
) -> None:
    await deployed(a_node, router, WHO, QUICK, most=1)
    chance = random.Random(1)
    over = asyncio.Event()
    statuses: list[int] = []

    async def one() -> None:
        while not over.is_set():
            statuses.append((await invoke(router)).status)
            await asyncio.sleep(chance.uniform(0.0, 1.2))

    async def woken_often() -> bool:
        return sum(it.wakes for it in await a_node.status()) >= 8

    async with asyncio.TaskGroup() as clients:
        for _ in range(2):
            clients.create_task(one())
        await until(woken_often, limit=120)
        over.set()
    assert set(statuses) == {200}
    tally = await router.tally("echo")
    assert tally.errors + tally[Count.PLATFORM] == 0
    assert tally[Count.COLD] >= 8


@pytest.mark.parametrize(("concurrency", "most", "workers"), [(1, 4, 2), (10, 2, 1)])
async def test_a_burst_at_zero_is_answered_by_no_more_instances_than_there_may_be(
    a_node: NodeUnderTest, etcd: EtcdSettings, tmp_path: Path, concurrency: int, most: int, workers: int
) -> None:
    settings = f"{QUICK}concurrency = {concurrency}\nmax_instances = {most}\n"
    async with routing(etcd, tmp_path / "router", workers=workers) as router:
        await deployed(a_node, router, SLOW, settings, most=most)
        await asleep(a_node)
        async with most_processes(a_node) as seen:
            answers = await asyncio.gather(*(invoke(router) for _ in range(200)))
        assert {answer.status for answer in answers} == {200}
        assert max(seen) <= most
        assert all(it.wakes for it in await asleep(a_node)), "all of them, since there was more to do than they could"


async def test_an_invocation_that_has_room_wakes_no_second_instance(
    a_node: NodeUnderTest, router: RouterUnderTest
) -> None:
    await deployed(a_node, router, WHO, f"{FROM_ZERO}concurrency = 4\nmax_instances = 3\n", most=3)
    answers = await asyncio.gather(*(invoke(router) for _ in range(4)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json() for answer in answers}) == 1


async def test_an_instance_with_a_queue_has_another_woken(a_node: NodeUnderTest, router: RouterUnderTest) -> None:
    settings = f"{FROM_ZERO}concurrency = 1\nmax_instances = 2\n"
    endpoints = await deployed(a_node, router, PATIENT, settings, most=2)
    [awake] = [it for it in endpoints if not it.standby]
    queueing = [asyncio.create_task(a_node.invoke(awake, 2.0)) for _ in range(3)]  # as several routers would send them
    await state(a_node, agent_pb2.INSTANCE_STATE_READY)
    assert {(await it)[0] for it in queueing} == {200}


@pytest.mark.parametrize(("kind", "code"), [("asgi", ASGI), ("wsgi", WSGI)])
async def test_applications_sleep_and_wake_as_handlers_do(
    a_node: NodeUnderTest, router: RouterUnderTest, kind: str, code: str
) -> None:
    settings = f'kind = "{kind}"\nentrypoint = "app:app"\nmin_instances = 0\nidle_timeout = "300ms"\n'
    await deployed(a_node, router, code, settings)
    await asleep(a_node)
    assert (await invoke(router)).body == b"awake"
    await asleep(a_node)


async def test_with_a_least_number_so_many_stay_awake(a_node: NodeUnderTest, router: RouterUnderTest) -> None:
    settings = f'{HANDLER}min_instances = 1\nmax_instances = 3\nconcurrency = 1\nidle_timeout = "300ms"\n'
    await deployed(a_node, router, SLOW, settings, most=3)
    answers = await asyncio.gather(*(invoke(router) for _ in range(30)))
    assert {answer.status for answer in answers} == {200}

    async def one_left() -> bool:
        states = sorted(it.state for it in await a_node.status())
        asleep, awake = agent_pb2.INSTANCE_STATE_ASLEEP, agent_pb2.INSTANCE_STATE_READY
        return states == sorted([awake, asleep, asleep]) and len(processes_in(a_node.state_dir)) == 1

    await until(one_left)
    assert (await invoke(router)).status == 200


@asynccontextmanager
async def gated(
    a_node: NodeUnderTest,
    router: RouterUnderTest,
    gate: Path,
    *,
    how: str = "os._exit(7)",
    concurrency: int = 16,
    most: int = 1,
) -> AsyncIterator[None]:
    """A version that sleeps, and whose start is up to the files at `gate`; `how` it breaks."""
    size = f"concurrency = {concurrency}\nmax_instances = {most}\n"
    settings = f'{QUICK}{size}start_timeout = "20s"\nenv = {{ GATE = "{gate}" }}\n'
    await deployed(a_node, router, GATED.replace("BREAK", how), settings, most=most)
    await asleep(a_node)
    yield


@pytest.mark.parametrize(("concurrency", "most"), [(50, 1), (20, 2)])
async def test_an_instance_that_is_killed_while_it_wakes_fails_nobody_who_waits(
    a_node: NodeUnderTest, router: RouterUnderTest, tmp_path: Path, concurrency: int, most: int
) -> None:
    async with gated(a_node, router, tmp_path / "gate", concurrency=concurrency, most=most):
        closed = tmp_path / "gate.closed"
        closed.touch()
        killed: set[int] = set()

        async def started() -> set[int]:
            found = {it for it in processes_in(a_node.state_dir) if it not in killed}
            return found if len(found) == most else set()

        async with most_processes(a_node) as seen:
            waiting = [asyncio.create_task(invoke(router)) for _ in range(50)]
            for _ in range(2):
                for pid in await until(started):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            await until(started)
            closed.unlink()
            answers = await asyncio.gather(*waiting)
        assert [answer.status for answer in answers] == [200] * 50
        assert not {answer.json() for answer in answers} & killed
        assert max(seen) <= most
        found = await a_node.status()
        assert [(it.restarts, "SIGKILL" in it.last_exit) for it in found] == [(2, True)] * most
        tally = await router.tally("echo")
        assert (tally.errors, tally[Count.PLATFORM]) == (0, 0)


@pytest.mark.parametrize("how", ["os._exit(7)", 'raise OSError("the database is away")'])
async def test_an_instance_that_wakes_at_its_second_try_fails_nobody(
    a_node: NodeUnderTest, router: RouterUnderTest, tmp_path: Path, how: str
) -> None:
    async with gated(a_node, router, tmp_path / "gate", how=f"os.remove(GATE + '.broken'); {how}"):
        (tmp_path / "gate.broken").touch()
        assert {it.status for it in await asyncio.gather(*(invoke(router) for _ in range(10)))} == {200}
        [status] = await a_node.status()
        assert status.restarts == 1


async def test_who_waits_for_a_version_that_does_not_start_is_told_so_and_when_to_come_back(
    a_node: NodeUnderTest, router: RouterUnderTest, tmp_path: Path
) -> None:
    async with gated(a_node, router, tmp_path / "gate"):
        broken = tmp_path / "gate.broken"
        broken.touch()
        asked = [("POST", b"x" * 200_000), ("GET", None), ("HEAD", None), ("POST", b"{}")] * 3
        answers = await asyncio.gather(*(router.call(method, "/fn/echo", data=data) for method, data in asked))
        assert {(it.status, it.headers["Retry-After"]) for it in answers} == {(503, "1")}
        detail = 'version 1 of "echo" does not start: exited with code 7 before it was ready'
        assert [it.json()["detail"].startswith(detail) for it in answers if it.body] == [True] * 9
        broken.unlink()

        async def served() -> bool:  # until no router sends to that standby, who comes is told the same
            return (await invoke(router)).status == 200

        await until(served)


async def test_a_version_that_never_wakes_is_a_crash_loop_that_can_be_seen(
    a_node: NodeUnderTest, router: RouterUnderTest, tmp_path: Path
) -> None:
    async with gated(a_node, router, tmp_path / "gate"):
        broken = tmp_path / "gate.broken"
        broken.touch()
        assert (await invoke(router)).status == 503
        [status] = await state(a_node, agent_pb2.INSTANCE_STATE_FAILED)
        assert status.restarts >= CRASH_LOOP - 1
        assert "code 7" in status.last_exit
        broken.unlink()
        assert (await invoke(router)).status == 200


async def test_an_invocation_that_finds_the_agent_dead_waits_for_the_next_one(
    a_node: NodeUnderTest, router: RouterUnderTest
) -> None:
    await deployed(a_node, router, WHO, QUICK)
    await asleep(a_node)
    await a_node.kill()
    waiting = asyncio.create_task(invoke(router))
    await a_node.start()
    assert (await waiting).status == 200


async def test_what_sleeps_is_not_started_when_another_agent_takes_over(
    a_node: NodeUnderTest, router: RouterUnderTest
) -> None:
    await deployed(a_node, router, WHO, QUICK)
    await asleep(a_node)
    await a_node.kill()
    await a_node.start()
    [status] = await asleep(a_node)
    assert status.wakes == 0
    assert not status.start_ms


async def test_a_node_that_is_drained_answers_first_who_has_come(
    a_node: NodeUnderTest, router: RouterUnderTest, tmp_path: Path
) -> None:
    async with gated(a_node, router, tmp_path / "gate"):
        closed = tmp_path / "gate.closed"
        closed.touch()
        waiting = asyncio.create_task(invoke(router))
        await state(a_node, agent_pb2.INSTANCE_STATE_WAKING)
        await a_node.assign({})
        await a_node.endpoints(1, count=1)
        closed.unlink()
        assert (await waiting).status == 200
        await a_node.empty()
        assert await a_node.endpoints(1, count=0) == []
