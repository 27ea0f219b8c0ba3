"""P17: nobody is waited for without a limit, and each limit can be set. In each test one of them is short, and no other
would end it in time."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from hotswap.settings import RouterLimits
from tests.conditions import eventually
from tests.conformance.upstream import ScriptedUpstream
from tests.conformance.worker import LANES, worker_within
from tests.router_harness import read_request, silent
from tests.router_harness import upstream as conversing

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.parametrize("lane", LANES)]

SHORT = 0.2
"""Seconds."""
LONG = 3_600.0
ANSWER_LIMIT = 30.0
GET = b"GET /fn/f/ HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"POST /fn/f/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
WHOLE = HEAD + b"xyz"
STREAM = b"POST /fn/f/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxy"
PIECE = bytes(65_536)


def only(**short: float) -> RouterLimits:
    long = dict.fromkeys(("head_timeout", "body_timeout", "write_timeout", "keep_alive", "connect_timeout"), LONG)
    return RouterLimits(**long | short)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            yield reader, writer
    finally:
        writer.close()


async def heard(port: int, data: bytes) -> bytes:
    """All that comes until the router closes, when this is sent."""
    async with connected(port) as (reader, writer):
        writer.write(data)
        return await reader.read(-1)


async def test_a_head_that_does_not_go_on_is_given_up(upstream: ScriptedUpstream, lane: str) -> None:
    async with worker_within(lane, upstream.port, only(head_timeout=SHORT)) as port:
        assert await heard(port, HEAD[:-2]) == b""


@pytest.mark.parametrize("begun", [HEAD + b"x", STREAM], ids=["awaited whole", "streamed"])
async def test_a_body_that_does_not_go_on_is_given_up(lane: str, begun: bytes) -> None:
    async with conversing(silent) as server:
        async with worker_within(lane, _port(server.address), only(body_timeout=SHORT)) as port:
            answer = await heard(port, begun)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close\r\n" in answer
        assert b"did not go on for 0.2 s" in answer


async def test_a_client_that_takes_nothing_of_its_answer_is_given_up(lane: str) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(PIECE)
            await writer.drain()

    async with (
        conversing(pour) as server,
        worker_within(lane, _port(server.address), only(write_timeout=SHORT)) as port,
        connected(port) as (_, writer),
    ):
        writer.write(GET)
        await eventually(lambda: server.connections == 1 and not server.open)


@pytest.mark.parametrize("sent", [b"", WHOLE], ids=["never used", "after an answer"])
async def test_an_idle_connection_is_closed(upstream: ScriptedUpstream, lane: str, sent: bytes) -> None:
    upstream.begin_plain()
    async with worker_within(lane, upstream.port, only(keep_alive=SHORT)) as port:
        answer = await heard(port, sent)
    assert answer.startswith(b"HTTP/1.1 200 " if sent else b"")
    assert b"Connection: close\r\n" not in answer


async def test_a_body_that_nobody_wants_is_read_on_for_a_while(upstream: ScriptedUpstream, lane: str) -> None:
    async with worker_within(lane, upstream.port, only(linger=SHORT)) as port, connected(port) as (reader, writer):
        writer.write(HEAD.replace(b"/fn/f/", b"/fn/none/").replace(b": 3", b": 1000000"))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 404 ")

        def ended() -> bool:
            writer.write(b"x")
            return writer.transport.is_closing()

        await eventually(ended)


async def test_a_connection_to_an_instance_is_not_kept_for_ever(lane: str) -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await silent(reader, writer)

    async with (
        conversing(answer_once) as server,
        worker_within(lane, _port(server.address), only(instance_keep_alive=SHORT)) as port,
        connected(port) as (reader, writer),
    ):
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
        await eventually(lambda: server.connections == 1 and not server.open)


async def test_an_upstream_that_takes_no_connection_is_given_up(lane: str) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        for _ in range(3):  # as many as it takes without accepting them, and one that waits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with worker_within(lane, full.getsockname()[1], only(connect_timeout=SHORT)) as port:
            answer = await heard(port, WHOLE.replace(b"Host: a", b"Host: a\r\nConnection: close"))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"took no connection within 0.2 s" in answer


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
