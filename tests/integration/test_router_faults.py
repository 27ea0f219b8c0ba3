"""What the router does when an instance refuses, breaks off, is late, or does not answer in HTTP."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest

from hotswap.metrics import Count
from tests.conditions import eventually
from tests.router_harness import (
    RouterUnderTest,
    answering,
    read_request,
    refusing_address,
    response,
    saying,
    silent,
    upstream,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_refused_connect_goes_to_another_endpoint(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering()) as server:
        dead = await refusing_address()
        await router.publish(fn, {1: [dead, server.address]}, weights={1: 100})
        answers = [await router.call("POST", f"/fn/{fn}", data=b"x") for _ in range(20)]
        assert {answer.status for answer in answers} == {200}
        assert await router.metric("hotswap_router_retries_total") > 0
        assert (await router.tally(fn)).errors == 0


async def test_with_every_endpoint_refusing_the_answer_is_502_and_not_an_error_of_the_version(
    router: RouterUnderTest,
    fn: str,
) -> None:
    await router.publish(fn, {1: [await refusing_address()]}, weights={1: 100})
    answer = await router.get(f"/fn/{fn}")
    assert answer.status == 502
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["requestId"] == answer.headers["Hotswap-Request-Id"]
    tally = await router.tally(fn)
    assert (tally[Count.PLATFORM], tally.invocations) == (1, 0)


async def test_a_kept_connection_that_has_died_is_retried_once_if_that_is_safe(
    router: RouterUnderTest, fn: str
) -> None:
    async def once_then_die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(b"first"))
        await read_request(reader)

    async with upstream(once_then_die, once_then_die, answering(b"good")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        assert (await router.get(f"/fn/{fn}")).body == b"first"
        assert (await router.get(f"/fn/{fn}")).body == b"first", "sent again on a new connection"
        answer = await router.call("POST", f"/fn/{fn}", data=b"x")
        assert answer.status == 502, "it may have been carried out"
        assert "broke the connection" in answer.json()["detail"]
        assert (await router.tally(fn))[Count.DIED] == 1


async def test_a_new_connection_that_breaks_is_not_retried(router: RouterUnderTest, fn: str) -> None:
    async with upstream(saying(b"", then_close=True)) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        assert (await router.get(f"/fn/{fn}")).status == 502
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_answer_that_can_be_read_in_two_ways_is_not_relayed(
    router: RouterUnderTest, fn: str, answer: bytes
) -> None:
    async with upstream(saying(answer)) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        assert (await router.get(f"/fn/{fn}")).status == 502
        assert (await router.get(f"/fn/{fn}")).status == 502
        assert server.connections == 2


async def test_bytes_after_an_answer_reach_nobody(router: RouterUnderTest, fn: str) -> None:
    async with upstream(saying(response(b"good") + response(b"smuggled")), answering(b"good")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        assert [(await router.get(f"/fn/{fn}")).body for _ in range(3)] == [b"good"] * 3
        assert server.connections == 2


async def test_an_answer_that_breaks_off_is_cut_for_the_client_too(router: RouterUnderTest, fn: str) -> None:
    async with upstream(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then_close=True)) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        with pytest.raises(aiohttp.ClientPayloadError):
            await router.get(f"/fn/{fn}")
        assert (await router.tally(fn))[Count.DIED] == 1


async def test_an_answer_that_ends_with_its_connection_is_whole(router: RouterUnderTest, fn: str) -> None:
    async with upstream(saying(b"HTTP/1.1 200 OK\r\n\r\nall of it", then_close=True)) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        assert (await router.get(f"/fn/{fn}")).body == b"all of it"


async def test_a_function_past_its_limit_is_answered_for(router: RouterUnderTest, fn: str) -> None:
    async with upstream(silent) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100}, timeout=timedelta(seconds=0.3))
        answer = await router.get(f"/fn/{fn}")
        assert answer.status == 504
        assert "limit of 0.3 s" in answer.json()["detail"]
        assert (await router.tally(fn))[Count.TIMEOUT] == 1
        await eventually(lambda: server.open == 0)
