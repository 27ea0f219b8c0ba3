"""P17: nobody is waited for without a limit. The limits are made small, so the worker runs within the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.conformance.upstream import ScriptedUpstream
from tests.conformance.worker import LANES, worker_within

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = 0.2
"""Seconds."""
ANSWER_LIMIT = 30.0
HEAD = b"POST /fn/f/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
WHOLE = HEAD + b"xyz"


@pytest_asyncio.fixture(loop_scope="module", params=LANES)
async def port(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> AsyncIterator[int]:
    async with worker_within(request.param, upstream.port) as made:
        yield made


def shorten(patch: pytest.MonkeyPatch, limit: str, *modules: str) -> None:
    """In each of the modules that go by it."""
    for module in modules:
        patch.setattr(f"router.{module}.{limit}", SHORT)


async def heard(port: int, data: bytes) -> bytes:
    """All that comes until the router closes, when this is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(ANSWER_LIMIT):
            return await reader.read(-1)
    finally:
        writer.close()


async def test_a_head_that_does_not_go_on_is_given_up(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    shorten(monkeypatch, "HEAD_LIMIT", "clients", "express")
    assert await heard(port, HEAD[:-2]) == b""


async def test_a_body_that_does_not_go_on_is_given_up(
    monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream, port: int
) -> None:
    shorten(monkeypatch, "READ_LIMIT", "upload", "express")
    upstream.begin_plain()
    answer = await heard(port, HEAD + b"x")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close\r\n" in answer


async def test_an_idle_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream, port: int
) -> None:
    shorten(monkeypatch, "KEEP_ALIVE_LIMIT", "clients", "express")
    upstream.begin_plain()
    answer = await heard(port, WHOLE)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close\r\n" not in answer


@pytest.mark.parametrize("lane", LANES)
async def test_an_upstream_that_takes_no_connection_is_given_up(monkeypatch: pytest.MonkeyPatch, lane: str) -> None:
    shorten(monkeypatch, "CONNECT_LIMIT", "upstream")
    async with AsyncExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        for _ in range(3):  # as many as it takes without accepting them, and one that waits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        port = await stack.enter_async_context(worker_within(lane, full.getsockname()[1]))
        answer = await heard(port, WHOLE.replace(b"Host: a", b"Host: a\r\nConnection: close"))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"took no connection within 0.2 s" in answer
