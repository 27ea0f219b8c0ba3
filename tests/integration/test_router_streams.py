"""Long conversations with real libraries at both ends: WebSockets, event streams, bodies larger than what is held."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from benchmarks import streams
from hotswap.metrics import Count
from hotswap.settings import Lane
from router.codec.body import Chunked
from router.reading import HELD
from tests.conditions import eventually
from tests.kernel_queues import Passage
from tests.router_harness import RouterUnderTest

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEBIBYTES = 64
PIECES = (1, 900, 17_000, 65_536, 70_000, 300_000, 1_200_000)
"""Bytes: some are read, some passed on unseen, some more than fits."""
LENGTH = 256 * streams.MIB
"""Of a body that is not sent to its end."""
STILL = 6
"""Looks between which nothing moves; the kernel acknowledges within fewer."""
MOST_HELD = 8.0
"""MiB: far below what is streamed, far above what is held of it on purpose."""


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=["echo"])
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(f"{request.path}: {message.data}")
        else:
            await socket.send_bytes(message.data)
    return socket


async def test_a_websocket_talks_through_the_tunnel(router: RouterUnderTest, fn: str) -> None:
    async with serving(echo) as address:
        await router.publish(fn, {1: [address]}, weights={1: 100})
        async with router.session.ws_connect(router.url(f"/fn/{fn}/talk"), protocols=["echo"], compress=15) as socket:
            assert socket.protocol == "echo"
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=20) == "/talk: hello"
            for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000):
                await socket.send_bytes(bytes(size))
                assert await socket.receive_bytes(timeout=20) == bytes(size)
            await socket.ping()
            await socket.close()
            assert socket.close_code == aiohttp.WSCloseCode.OK
        assert (await router.tally(fn))[Count.OK] == 1


async def test_many_websockets_at_once_keep_apart(router: RouterUnderTest, fn: str) -> None:
    async def talk(number: int) -> None:
        async with router.session.ws_connect(router.url(f"/fn/{fn}/{number}")) as socket:
            for turn in range(20):
                await socket.send_str(f"{turn}")
                assert await socket.receive_str(timeout=20) == f"/{number}: {turn}"

    async with serving(echo) as address:
        await router.publish(fn, {1: [address]}, weights={1: 100}, concurrency=100)
        await asyncio.gather(*(talk(number) for number in range(50)))
        assert await router.in_flight(fn) == 0


async def test_events_arrive_one_by_one_and_end_with_their_reader(router: RouterUnderTest, fn: str) -> None:
    asked = asyncio.Queue[int]()
    ended = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"data: %d\n\n" % await asked.get())
        finally:
            ended.set()

    async with serving(events) as address:
        await router.publish(fn, {1: [address]}, weights={1: 100})
        async with router.session.get(router.url(f"/fn/{fn}")) as answer:
            for number in range(50):
                asked.put_nowait(number)
                assert await answer.content.readuntil(b"\n\n") == b"data: %d\n\n" % number
            answer.close()

        def told() -> bool:
            asked.put_nowait(0)  # a server finds out when it writes
            return ended.is_set()

        await eventually(told)


async def test_a_body_that_is_streamed_is_not_held(router: RouterUnderTest, fn: str) -> None:
    """The short form of `scripts/bench streams`."""
    async with streams.serving() as address:
        await router.publish(fn, {1: [address]}, weights={1: 100}, max_body=2 * MEBIBYTES * streams.MIB)
        figures = await streams.held(router, fn, MEBIBYTES)
    assert figures["upload_mib"] < MOST_HELD
    assert figures["download_mib"] < MOST_HELD


@asynccontextmanager
async def passing(router: RouterUnderTest, fn: str, request: str) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """The client's socket and the function's, when the function has the head of this request."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        await router.publish(fn, {1: [address]}, weights={1: 100}, max_body=LENGTH)
        await loop.sock_connect(client, router.host_port)
        await loop.sock_sendall(client, request.encode())
        async with asyncio.timeout(20):
            function, _ = await loop.sock_accept(listener)
        with function:
            function.setblocking(False)
            await take_head(function)
            yield client, function


async def take_head(sock: socket.socket) -> None:
    """And nothing after it."""
    head = b""
    async with asyncio.timeout(20):
        while not head.endswith(b"\r\n\r\n"):
            head += await asyncio.get_running_loop().sock_recv(sock, 1)


async def most_inside(passage: Passage) -> int:
    """Each time that the receiver has stopped and nothing moves any more."""
    most = 0
    for _ in range(4):
        looks: list[int] = []

        def still(looks: list[int] = looks) -> bool:
            if passage.push() or (looks and looks[0] != passage.inside()):
                looks.clear()
            looks.append(passage.inside())
            return len(looks) > STILL

        await eventually(still)
        most = max(most, passage.inside())
        wanted = passage.pulled + 3 * streams.MIB

        def taken(wanted: int = wanted) -> bool:
            while passage.pulled < wanted and (passage.push() or passage.pull()):
                pass
            return passage.pulled >= wanted

        await eventually(taken)
    return most


async def test_of_an_answer_no_more_is_held_than_is_promised(router: RouterUnderTest, fn: str) -> None:
    request = f"GET /fn/{fn} HTTP/1.1\r\nHost: a\r\n\r\n"
    async with passing(router, fn, request) as (client, function):
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(function, head.encode())
        await take_head(client)
        assert await most_inside(Passage(source=function, sink=client)) <= HELD


async def test_of_a_request_no_more_is_held_than_is_promised(router: RouterUnderTest, fn: str, lane: Lane) -> None:
    request = f"POST /fn/{fn} HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"
    async with passing(router, fn, request) as (client, function):
        assert await most_inside(Passage(source=client, sink=function)) <= HELD


def sized(rng: random.Random) -> tuple[bytes, bytes]:
    """An answer as a function sends it, and its body."""
    body = rng.randbytes(rng.choice(PIECES) + rng.choice(PIECES))
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), body


def in_chunks(rng: random.Random) -> tuple[bytes, bytes]:
    pieces = [rng.randbytes(rng.choice(PIECES)) for _ in range(rng.randrange(8))]
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(it), rng.choice([b"", b";a=b"]), it) for it in pieces)
    trailer = rng.choice([b"", b"Digest: none\r\n"])
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (chunks, trailer), b"".join(pieces)


@pytest.mark.parametrize("made", [sized, in_chunks])
@pytest.mark.parametrize("minor", [1, 0])
async def test_long_answers_arrive_as_they_were_sent_one_after_the_other(
    router: RouterUnderTest, fn: str, made: Callable[[random.Random], tuple[bytes, bytes]], minor: int
) -> None:
    """Whatever of them the router did not look at."""
    loop, rng = asyncio.get_running_loop(), random.Random(f"{made} {minor}")
    request = f"GET /fn/{fn} HTTP/1.{minor}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n".encode()
    async with passing(router, fn, request.decode()) as (client, function):
        stream, writer = await asyncio.open_connection(sock=client.dup(), limit=1 << 16)
        for number in range(20):
            if number:
                writer.write(request)
                await take_head(function)  # on the same connection: the answer before was at its end
            answer, body = made(rng)
            sending = asyncio.create_task(loop.sock_sendall(function, answer))
            head = await stream.readuntil(b"\r\n\r\n")
            if b"\r\nContent-Length:" in head:
                assert await stream.readexactly(len(body)) == body
            elif minor:
                assert await dechunked(stream) == body
            else:  # only the end of the connection ends it
                assert await stream.read(-1) == body
                break
            await sending
        writer.close()


async def test_long_requests_arrive_as_they_were_sent_one_after_the_other(router: RouterUnderTest, fn: str) -> None:
    loop, rng = asyncio.get_running_loop(), random.Random(5)
    async with passing(router, fn, f"GET /fn/{fn} HTTP/1.1\r\nHost: a\r\n\r\n") as (client, function):
        stream, writer = await asyncio.open_connection(sock=function.dup())
        for _ in range(20):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await take_head(client)
            body = rng.randbytes(rng.choice(PIECES) + rng.choice(PIECES))
            head = b"POST /fn/%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (fn.encode(), len(body))
            sending = asyncio.create_task(loop.sock_sendall(client, head + body))
            await stream.readuntil(b"\r\n\r\n")  # on the same connection: the request before was at its end
            assert await stream.readexactly(len(body)) == body
            await sending
        writer.close()


async def dechunked(stream: asyncio.StreamReader) -> bytes:
    chunks = Chunked()
    body = b""
    while not chunks.done:
        piece, rest = chunks.read(await stream.read(50_000))
        assert not rest
        body += piece
    return body


async def test_what_is_sent_ahead_behind_a_stream_is_answered_in_its_order(
    router: RouterUnderTest, fn: str, lane: Lane
) -> None:
    ahead = 3 * HELD // 1_000
    async with streams.serving() as address:
        await router.publish(fn, {1: [address]}, weights={1: 100})
        stream = f"POST /fn/{fn}/0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection(*router.host_port)
        writer.write(stream)
        async with asyncio.timeout(20):
            while not await router.in_flight(fn):  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.05)
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (HELD, bytes(HELD)))
        writer.write(f"GET /fn/{fn}/0 HTTP/1.1\r\nHost: a\r\nX-Long: {'x' * 1_000}\r\n\r\n".encode() * ahead)
        async with asyncio.timeout(60):
            for expected in [HELD] + ahead * [0]:
                head = await reader.readuntil(b"\r\n0\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                assert b"X-Taken: %d\r\n" % expected in head
        writer.close()
