"""How invocations are given to endpoints: held, counted against their concurrency, sent over kept connections."""

import asyncio
from datetime import timedelta

import pytest

from hotswap.metrics import Count, Named
from tests.conditions import eventually
from tests.router_harness import (
    RouterUnderTest,
    answering,
    read_request,
    response,
    upstream,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def held(router: RouterUnderTest, fn: str, count: int) -> None:
    """Returns when so many invocations of the function wait."""
    async with asyncio.timeout(20):
        while await router.in_flight(fn) < count:  # noqa: ASYNC110 - the router tells when it is asked
            await asyncio.sleep(0.02)


async def test_who_comes_while_no_instance_is_ready_is_held_until_one_is(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering(b"warm")) as server, asyncio.TaskGroup() as tasks:
        await router.publish(fn, {1: []}, weights={1: 100})
        calls = [tasks.create_task(router.get(f"/fn/{fn}")) for _ in range(5)]
        await held(router, fn, 5)
        await router.add_endpoint(fn, 1, "late", server.address, concurrency=2)
        assert {(await call).body for call in calls} == {b"warm"}
        tally = await router.tally(fn)
        assert (tally[Count.OK], tally[Count.COLD]) == (5, 5)


async def test_who_is_held_for_too_long_is_told_to_come_back(router: RouterUnderTest, fn: str) -> None:
    await router.publish(fn, {1: []}, weights={1: 100}, start_timeout=timedelta(seconds=0.2))
    answer = await router.get(f"/fn/{fn}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (await router.tally(fn))[Count.PLATFORM] == 1


async def test_versions_that_are_named_and_run_nowhere_are_told_while_somebody_waits(
    router: RouterUnderTest, fn: str
) -> None:
    async with upstream(answering(b"by number")) as server, asyncio.TaskGroup() as tasks:
        await router.publish(fn, {1: [], 2: []}, weights={1: 100})
        by_alias = tasks.create_task(router.get(f"/fn/{fn}"))
        await held(router, fn, 1)
        assert await router.lacking() == []
        for instance in ("first", "second"):
            by_number = tasks.create_task(router.get(f"/fn/{fn}:2"))
            assert await router.lacking(wait=20) == [Named(function=fn, version=2)]
            endpoint = await router.add_endpoint(fn, 2, instance, server.address)
            assert (await by_number).body == b"by number"
            assert await router.lacking() == []
            await router.withdraw(endpoint)
        await router.add_endpoint(fn, 1, "late", server.address)
        assert (await by_alias).status == 200


async def test_an_endpoint_never_gets_more_than_its_concurrency(router: RouterUnderTest, fn: str) -> None:
    running = most = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        while True:
            await read_request(reader)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            writer.write(response(b"ok"))

    async with upstream(talk) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100}, concurrency=3)
        answers = await asyncio.gather(*(router.get(f"/fn/{fn}") for _ in range(60)))
        assert {answer.status for answer in answers} == {200}
        assert most == 3
        assert (await router.tally(fn))[Count.COLD] == 0, "waiting for room is not a cold start"


async def test_an_endpoint_is_busy_until_its_answer_has_ended(router: RouterUnderTest, fn: str) -> None:
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
            await go_on.wait()
            writer.write(b"0\r\n\r\n")

    async with upstream(talk) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100}, concurrency=1)
        async with router.session.get(router.url(f"/fn/{fn}")) as first:
            assert await first.content.readexactly(5) == b"begun"
            held = await router.metric("hotswap_router_held_invocations_total")
            second = asyncio.create_task(router.get(f"/fn/{fn}"))
            async with asyncio.timeout(20):
                while await router.metric("hotswap_router_held_invocations_total") == held:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
            assert len(server.requests) == 1
            go_on.set()
            assert (await second).body == b"begun"
        assert len(server.requests) == 2


async def test_a_small_body_is_awaited_whole_before_an_instance_is_taken(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering()) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100}, concurrency=1)
        reader, writer = await asyncio.open_connection(*router.host_port)
        writer.write(f"POST /fn/{fn} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nsl".encode())
        assert (await router.get(f"/fn/{fn}")).status == 200
        assert len(server.requests) == 1
        writer.write(b"ow")
        assert (await reader.readuntil(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"
        assert server.requests[1].body == b"slow"
        writer.close()


async def test_idle_connections_end_as_soon_as_their_endpoint_leaves(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering()) as server, upstream(answering()) as other:
        await router.publish(fn, {1: [other.address]}, weights={1: 100})
        leaving = await router.add_endpoint(fn, 1, "leaving", server.address)
        while server.open == 0:
            await asyncio.gather(*(router.get(f"/fn/{fn}") for _ in range(10)))
        await router.withdraw(leaving)
        await eventually(lambda: server.open == 0)
        assert (await router.get(f"/fn/{fn}")).status == 200


async def test_a_busy_connection_ends_when_its_request_is_done(router: RouterUnderTest, fn: str) -> None:
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await go_on.wait()
            writer.write(response(b"done"))

    async with upstream(talk) as server, asyncio.TaskGroup() as tasks:
        await router.publish(fn, {1: []}, weights={1: 100})
        leaving = await router.add_endpoint(fn, 1, "leaving", server.address)
        call = tasks.create_task(router.get(f"/fn/{fn}"))
        await eventually(lambda: server.requests)
        await router.withdraw(leaving)
        go_on.set()
        assert (await call).body == b"done"
        await eventually(lambda: server.open == 0)


async def test_of_a_version_that_has_errors_it_is_told_what_its_nodes_answered(
    router: RouterUnderTest, fn: str
) -> None:
    async with upstream(answering(b"no", status="500 Sorry")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        for _ in range(3):
            assert (await router.get(f"/fn/{fn}")).status == 500
        async with asyncio.timeout(20):
            while not (nodes := (await router.counters(fn)).nodes) or nodes[0].errors < 3:  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.02)
    assert [(it.version, it.node, it.invocations, it.errors) for it in nodes] == [(1, "node", 3, 3)]


async def test_that_a_version_fails_is_told_to_who_waits_for_it(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering(b"no", status="500 Sorry")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        before = await router.failing()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(router.failing(since=before.look, wait=20))
            assert (await router.get(f"/fn/{fn}")).status == 500
    told = [(it.function, it.alias, it.version) for it in waiting.result().failures]
    assert told == [(fn, "production", 1)]
