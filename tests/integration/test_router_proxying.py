"""What the router does between a client and a function, on real sockets with a real router process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from hotswap.metrics import Count
from hotswap.model import Kind
from tests.conditions import eventually
from tests.router_harness import (
    RouterUnderTest,
    answering,
    read_request,
    response,
    saying,
    silent,
    upstream,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def raw(router: RouterUnderTest, data: bytes, fn: str) -> bytes:
    """Sends these bytes, with the name in place of FN, and returns all that comes until the router closes."""
    reader, writer = await asyncio.open_connection(*router.host_port)
    writer.write(data.replace(b"FN", fn.encode()))
    async with asyncio.timeout(20):
        answer = await reader.read(-1)
    writer.close()
    return answer


async def test_the_function_sees_the_rest_byte_for_byte_and_the_fields_of_the_router(
    router: RouterUnderTest, fn: str
) -> None:
    async with upstream(answering()) as server:
        await router.publish(fn, {3: [server.address]}, weights={3: 100})
        data = (
            b"PATCH /fn/FN/a%2Fb//c;d?e=%20f&g HTTP/1.1\r\nHost: example.org\r\nX-Bytes: \xff\xfe\r\n"
            b"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nForwarded: for=1.2.3.4\r\n"
            b"X-Forwarded-For: 1.2.3.4\r\nContent_Length: 7\r\nHotswap-Request-Id: abc-1\r\nVia: 1.0 edge\r\n"
            b"X_Forwarded_For: 6.6.6.6\r\nHotswap_Function: other\r\nX_Mine: kept\r\n"
            b"Content-Length: 003\r\n\r\nxyz"
        )
        answer = await raw(router, data, fn)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Hotswap-Request-Id: abc-1\r\n" in answer
        assert b"Hotswap-Version: 3\r\n" in answer
        assert b"Connection: close\r\n" in answer
        (request,) = server.requests
        seen = request.fields
        assert (request.method, request.target, request.body) == ("PATCH", "/a%2Fb//c;d?e=%20f&g", b"xyz")
        assert b"X-Bytes: \xff\xfe\r\n" in request.head
        assert seen["host"] == seen["x-forwarded-host"] == "example.org"
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert seen["content-length"] == "3"
        assert seen["via"] == "1.0 edge, 1.1 hotswap"
        assert (seen["hotswap-request-id"], seen["hotswap-function"], seen["hotswap-version"]) == ("abc-1", fn, "3")
        assert seen.keys().isdisjoint({"x-hop", "keep-alive", "te", "forwarded", "content_length", "connection"})
        assert seen.keys().isdisjoint({"x_forwarded_for", "hotswap_function"})
        assert seen["x_mine"] == "kept"


async def test_a_function_without_a_rest_sees_a_slash(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering()) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        await router.get(f"/fn/{fn}?x=1")
        await router.get(f"/fn/{fn}:production")
        await router.get(f"/fn/{fn}:1/y")
        assert [request.target for request in server.requests] == ["/?x=1", "/", "/y"]


async def test_hop_by_hop_fields_of_the_answer_end_here(router: RouterUnderTest, fn: str) -> None:
    told = [
        "Connection: X-Hop",
        "X-Hop: 1",
        "Keep-Alive: timeout=5",
        "Hotswap-Version: 99",
        "Set-Cookie: a",
        "Server: s",
    ]
    async with upstream(answering(fields=told)) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        answer = await router.get(f"/fn/{fn}")
        assert answer.version == 1
        assert (answer.headers["Set-Cookie"], answer.headers["Server"], answer.headers["Via"]) == (
            "a",
            "s",
            "1.1 hotswap",
        )
        assert "Date" in answer.headers
        assert answer.headers.keys().isdisjoint({"X-Hop", "Keep-Alive", "Connection"})


@pytest.mark.parametrize(
    ("method", "status", "length"), [("HEAD", "200 OK", "5"), ("GET", "304 Not Modified", "5"), ("GET", "204 No", None)]
)
async def test_answers_without_a_body(
    router: RouterUnderTest, fn: str, method: str, status: str, length: str | None
) -> None:
    data = f"HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n".encode()
    async with upstream(saying(data if length else b"HTTP/1.1 204 No\r\n\r\n")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        for _ in range(3):
            answer = await router.call(method, f"/fn/{fn}")
            assert (answer.body, answer.headers.get("Content-Length")) == (b"", length)
        assert server.connections == 1, "the connection is kept"


async def test_pieces_are_forwarded_when_they_arrive(router: RouterUnderTest, fn: str) -> None:
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"6\r\nfirst\n\r\n")
        await go_on.wait()
        writer.write(b"7\r\nsecond\n\r\n0\r\nX-Trailer: 1\r\n\r\n")

    async with upstream(talk) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        async with router.session.get(router.url(f"/fn/{fn}")) as answer:
            assert await answer.content.readline() == b"first\n"
            go_on.set()
            assert await answer.content.read() == b"second\n"


async def test_interim_answers_are_relayed(router: RouterUnderTest, fn: str) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    async with upstream(saying(early + response(b"ok"))) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        answer = await raw(router, b"GET /fn/FN HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", fn)
        assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_an_expectation_is_met_when_the_body_is_wanted(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering()) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        reader, writer = await asyncio.open_connection(*router.host_port)
        head = f"POST /fn/{fn} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        writer.write(head.encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert server.requests[0].body == b"hi"
        assert "expect" not in server.requests[0].fields
        writer.close()
        other = await raw(router, b"GET /fn/FN HTTP/1.1\r\nHost: a\r\nExpect: else\r\nConnection: close\r\n\r\n", fn)
        assert other.startswith(b"HTTP/1.1 417 ")


async def test_a_slow_reader_slows_the_function(router: RouterUnderTest, fn: str) -> None:
    size, sent = 64 * 1024 * 1024, 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()

    async with upstream(talk) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        async with router.session.get(router.url(f"/fn/{fn}")) as answer:
            stalled = await _stands_still(lambda: sent)
            assert stalled < size / 2, "what is not read is not fetched, but for what sockets hold"
            assert len(await answer.read()) == size


async def test_a_slow_function_slows_the_sender(router: RouterUnderTest, fn: str) -> None:
    size, sent = 64 * 1024 * 1024, 0
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        request = await read_request(reader)
        writer.write(response(str(len(request.body)).encode()))

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < size:
            yield b"x" * 65_536
            sent += 65_536

    async with upstream(talk) as server, asyncio.TaskGroup() as tasks:
        await router.publish(fn, {1: [server.address]}, weights={1: 100}, max_body=size)
        post = tasks.create_task(router.call("POST", f"/fn/{fn}", data=body()))
        assert await _stands_still(lambda: sent) < size / 2
        go_on.set()
        assert (await post).body == str(size).encode()


async def _stands_still(what: Callable[[], int]) -> int:
    """The value once it has moved and then stayed the same over many turns of both sides."""
    last, same = what(), 0
    async with asyncio.timeout(20):
        while same < 10 or not last:
            await asyncio.sleep(0.05)
            same = same + 1 if what() == last else 0
            last = what()
    return last


async def test_a_client_that_goes_away_ends_the_function_s_request(router: RouterUnderTest, fn: str) -> None:
    async with upstream(silent) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        _, writer = await asyncio.open_connection(*router.host_port)
        writer.write(f"GET /fn/{fn} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await eventually(lambda: server.open == 1)
        writer.close()
        await eventually(lambda: server.open == 0)
        assert (await router.tally(fn))[Count.CLIENT_ERROR] == 1
        assert await router.in_flight(fn) == 0


async def test_a_body_over_the_limit_is_refused(router: RouterUnderTest, fn: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 50

    async with upstream(answering()) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100}, max_body=100)
        assert (await router.call("POST", f"/fn/{fn}", data=b"x" * 100)).status == 200
        assert (await router.call("POST", f"/fn/{fn}", data=b"x" * 101)).status == 413
        assert (await router.call("POST", f"/fn/{fn}", data=chunks())).status == 413


async def test_an_answer_before_the_body_is_done_is_relayed(router: RouterUnderTest, fn: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b"no", status="403 Forbidden"))
        await reader.read(-1)

    async with upstream(talk) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        data = b"POST /fn/FN HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nonly this"
        answer = await raw(router, data, fn)
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"Connection: close\r\n" in answer
        await eventually(lambda: server.open == 0)


async def test_what_is_missing_is_told_with_what_exists(router: RouterUnderTest, fn: str) -> None:
    await router.publish(fn, {1: []}, weights={1: 100})
    for path, detail in [
        ("/fn/other", 'there is no function "other"; there is: '),
        (f"/fn/{fn}:blue", f'there is no alias "{fn}:blue"; there is: {fn}:production'),
        (f"/fn/{fn}:9", f'there is no version "{fn}:9"; there is: {fn}:1'),
    ]:
        answer = await router.get(path)
        assert answer.status == 404
        assert answer.json()["detail"].startswith(detail)


async def test_lambda_s_invoke_reaches_a_handler_as_the_event_and_others_as_a_post(
    router: RouterUnderTest, fn: str
) -> None:
    raised = answering(b"{}", status="500 Oops", fields=["Hotswap-Error: exception"])
    async with upstream(answering()) as plain, upstream(raised) as handler:
        await router.publish(fn, {1: [plain.address]}, weights={1: 100})
        await router.publish(f"{fn}-h", {1: [handler.address]}, weights={1: 100}, kind=Kind.HANDLER)
        path = "/2015-03-31/functions/{}/invocations"
        answer = await router.call("POST", path.format(fn) + "?Qualifier=1", data=b"{}")
        assert (answer.status, answer.headers["X-Amz-Executed-Version"]) == (200, "1")
        assert plain.requests[0].target == "/"
        answer = await router.call("POST", path.format(f"{fn}-h:production"), data=b"{}")
        assert (answer.status, answer.headers["X-Amz-Function-Error"]) == (200, "Unhandled")
        assert "Hotswap-Error" not in answer.headers
        assert handler.requests[0].target == "/2015-03-31/functions/function/invocations"
        assert (await router.call("POST", f"/fn/{fn}-h")).status == 500
        assert (await router.tally(f"{fn}-h"))[Count.EXCEPTION] == 2


async def test_outcomes_are_counted_apart(router: RouterUnderTest, fn: str) -> None:
    statuses = ["200 OK", "302 Found", "404 Not Found", "503 Busy"]
    async with upstream(*(saying(response(status=status), then_close=True) for status in statuses)) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        revision = await router.shift(fn, {1: 100}, latency_limit=timedelta(0))
        for _ in statuses:
            await router.get(f"/fn/{fn}", allow_redirects=False)
        row = next(row for row in await router.rows(fn) if row.alias_revision == revision)
        told = row.tally
        assert (told[Count.OK], told[Count.CLIENT_ERROR], told[Count.STATUS], told[Count.SLOW]) == (2, 1, 1, 4)


async def test_a_sticky_user_keeps_his_version(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering()) as server:
        await router.publish(fn, {1: [server.address], 2: [server.address]}, weights={1: 100})
        await router.shift(fn, {1: 50, 2: 50}, sticky={"by": "header:X-User", "salt": "s"}, last_good=1)
        for user in ("ann", "bob", "cid", "dan"):
            answers = [await router.get(f"/fn/{fn}", headers={"X-User": user}) for _ in range(6)]
            assert len({answer.version for answer in answers}) == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /fn/FN HTTP/1.1\r\n\r\n", 400),
        (b"GET /fn/FN HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /fn/FN HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        (b"GET /fn/FN HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n", 400),
        (b"GET /fn/FN/../../x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
        (b"GET /fn/FN/%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST /fn/FN HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /fn/FN HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /fn/FN HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_not_a_sound_request_is_refused_and_the_connection_ends(
    router: RouterUnderTest, fn: str, data: bytes, status: int
) -> None:
    async with upstream(answering()) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        answer = await raw(router, data, fn)
        assert answer.split(b" ", 2)[1] == str(status).encode(), answer
        assert server.requests == []
