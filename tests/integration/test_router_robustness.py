"""Faults at either end, with a load running: what is sound does not feel them, and what is broken is left alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from hotswap.metrics import Count
from tests.conditions import eventually
from tests.load import Seen, steady_load
from tests.router_harness import (
    Conversation,
    RouterUnderTest,
    answering,
    read_request,
    refusing_address,
    response,
    silent,
    upstream,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 60.0
ENOUGH = 90
"""Invocations after which a test has seen the load pass."""


@asynccontextmanager
async def loaded(router: RouterUnderTest, fn: str) -> AsyncIterator[Seen]:
    """A load that runs already, and has gone on when the context ends."""
    async with steady_load(router.url(f"/fn/{fn}"), rate=RATE) as seen:
        await eventually(lambda: seen.answered >= ENOUGH / 3)
        yield seen
        before = seen.answered
        await eventually(lambda: seen.answered >= before + ENOUGH)


def breaking(broken: asyncio.Event) -> Conversation:
    """Answers, but while the event is set it breaks the connection instead, when the request is there."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            if broken.is_set():
                return
            writer.write(response(b"ok"))

    return talk


async def test_an_instance_that_takes_no_connection_costs_no_invocation(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering(b"ok")) as server:
        ejections = await router.metric("hotswap_router_ejections_total")
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        async with loaded(router, fn) as seen:
            await router.add_endpoint(fn, 1, "refusing", await refusing_address())
        assert seen.failures == []
        assert await router.metric("hotswap_router_ejections_total") > ejections


async def test_an_instance_that_breaks_connections_is_left_alone_after_a_few(router: RouterUnderTest, fn: str) -> None:
    broken = asyncio.Event()
    broken.set()
    async with upstream(answering(b"ok")) as sound, upstream(breaking(broken)) as bad:
        await router.publish(fn, {1: [sound.address]}, weights={1: 100})
        async with loaded(router, fn) as seen:
            await router.add_endpoint(fn, 1, "bad", bad.address, concurrency=1)  # so none is under way with the fifth
            await eventually(lambda: len(seen.failures) >= 5)
        assert len(seen.failures) <= 6, "five in a row, and a probe when the ejection is over"
        assert (await router.tally(fn))[Count.DIED] == len(seen.failures)


async def test_when_every_instance_has_failed_all_are_tried_on(router: RouterUnderTest, fn: str) -> None:
    """Else the first answer after an outage would come when the first ejection is over."""
    broken = asyncio.Event()
    async with upstream(breaking(broken)) as one, upstream(breaking(broken)) as other:
        await router.publish(fn, {1: [one.address, other.address]}, weights={1: 100})
        async with loaded(router, fn) as seen:
            broken.set()
            await eventually(lambda: len(seen.failures) >= 30)
            broken.clear()
        assert seen.statuses[200] >= ENOUGH


async def test_clients_that_do_not_go_on_keep_nobody_waiting(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering(b"x" * 2_000_000)) as large, upstream(answering(b"ok")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        await router.publish(f"{fn}-large", {1: [large.address]}, weights={1: 100}, concurrency=100)
        opened = [await asyncio.open_connection(*router.host_port) for _ in range(120)]
        heads = (
            b"GET /fn/",
            b"POST /fn/%b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc" % fn.encode(),
            b"GET /fn/%b-large HTTP/1.1\r\nHost: a\r\n\r\n" % fn.encode(),
        )
        async with loaded(router, fn) as seen:
            for number, (_, writer) in enumerate(opened):
                writer.write(heads[number % len(heads)])
        for _, writer in opened:
            writer.transport.abort()
        assert seen.failures == []
        await eventually(lambda: large.open == 0)


async def test_clients_that_break_off_in_the_middle_leave_nothing_behind(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering(b"ok")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100}, concurrency=64)
        head = b"POST /fn/%b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc" % fn.encode()
        async with loaded(router, fn) as seen:
            for _ in range(100):
                _, writer = await asyncio.open_connection(*router.host_port)
                writer.write(head)
                await writer.drain()
                writer.transport.abort()
        assert seen.failures == []
        await router.nothing_in_flight(fn)


async def test_a_function_that_hangs_fills_its_own_queue_only(router: RouterUnderTest, fn: str) -> None:
    async with upstream(silent) as hanging, upstream(answering(b"ok")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        limit = timedelta(seconds=1)
        await router.publish(
            f"{fn}-hangs", {1: [hanging.address]}, weights={1: 100}, concurrency=1, timeout=limit, start_timeout=limit
        )
        async with loaded(router, fn) as seen:
            stuck = await asyncio.gather(*(router.get(f"/fn/{fn}-hangs") for _ in range(200)))
        assert seen.failures == []
        assert {answer.status for answer in stuck} <= {503, 504}
        assert all("Retry-After" in answer.headers for answer in stuck if answer.status == 503)


async def test_retries_are_a_share_of_the_requests_and_no_more(router: RouterUnderTest, fn: str) -> None:
    """Every kept connection dies at its second request: without a budget each of these would be sent twice."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(b"ok"))
        await read_request(reader)

    async with upstream(talk) as server:
        retries = await router.metric("hotswap_router_retries_total")
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        answers = [await router.get(f"/fn/{fn}") for _ in range(400)]
        retried = await router.metric("hotswap_router_retries_total") - retries
    assert {answer.status for answer in answers} == {200, 502}
    assert 0 < retried < len(answers) * 0.4
