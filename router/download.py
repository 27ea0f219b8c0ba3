"""A response on its way from a function to the client, as bytes written to the client's connection.

aiohttp's own response would add and rewrite fields; what a function answers reaches the client as it is, but for the
fields that end here. `Written` tells aiohttp that the answer is out and whether the connection goes on.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from router import fields
from router.exchange import Exchange
from router.fields import Field
from router.limit import Limit
from router.problems import CONTENT_TYPE, Problem
from router.upstream import Head

WRITE_LIMIT = 30.0
"""Seconds that a client may take nothing of what is written to it."""


class Written(web.StreamResponse):
    """An answer whose bytes are with the client's connection already."""

    def __init__(self, *, status: int, close: bool) -> None:
        super().__init__(status=status)
        self._keep_alive = not close

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Download:
    def __init__(self, request: web.BaseRequest, exchange: Exchange, limit: Limit) -> None:
        self._request = request
        self._limit = limit
        self._exchange = exchange
        self.began = False
        """The client has the head: nothing else can be answered any more."""

    def interim(self, head: Head) -> None:
        """A 1xx of the function's; not 100, which the router sends by itself, and not to HTTP/1.0, which has none."""
        if head.status != 100 and self._request.version >= (1, 1):
            self._write(fields.response_head(head.status, head.reason, _interim(head.fields)))

    async def relay(self, head: Head, added: list[Field], *, close: bool, ending: Callable[[], None]) -> Written:
        """`ending` is called before the last bytes go out.

        Raises `Broken` if the function does not end its answer; the client's connection is then to be cut.
        """
        bodiless = self._request.method == "HEAD" or head.status in {204, 304}
        undelimited = not bodiless and head.length is None
        chunked = undelimited and self._request.version >= (1, 1)
        close = close or (undelimited and not chunked)
        answer = [*fields.relayed(head.fields, keep_length=head.status != 204), *added]
        if chunked:
            answer.append((b"Transfer-Encoding", b"chunked"))
        answer += connection_fields(self._request, close=close)
        self.began = True
        last = await self._copy(fields.response_head(head.status, head.reason, answer), chunked=chunked)
        ending()
        await self._send(last)
        return Written(status=head.status, close=close)

    async def _copy(self, first: bytes, *, chunked: bool) -> bytes:
        """All but the last bytes, which are returned. What is there already goes out together."""
        exchange = self._exchange
        data = first + _framed(exchange.take(), chunked=chunked)
        while not exchange.ended:
            await self._send(data)
            data = _framed(await exchange.next_piece(), chunked=chunked)
        data += _framed(exchange.take(), chunked=chunked)
        return data + (b"0\r\n\r\n" if chunked else b"")

    async def _send(self, data: bytes) -> None:
        if data:
            self._write(data)
            if self._request.protocol.writing_paused:
                await self._drain()

    async def _drain(self) -> None:
        try:
            with self._limit.suspended():
                async with asyncio.timeout(WRITE_LIMIT):
                    await self._request.writer.drain()
        except TimeoutError:
            raise ConnectionAbortedError("the client reads nothing") from None

    def _write(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        transport.write(data)


def refuse(request: web.BaseRequest, problem: Problem, *, request_id: str, close: bool) -> Written:
    """The router's own answer."""
    body = problem.document(request_id)
    close = close or problem.close
    answer: list[Field] = [
        (b"Content-Type", CONTENT_TYPE.encode()),
        (b"Content-Length", b"%d" % len(body)),
        (b"Hotswap-Request-Id", request_id.encode()),
        *((name.encode(), value.encode()) for name, value in problem.fields),
        *connection_fields(request, close=close),
    ]
    head = fields.response_head(problem.status, problem.status.phrase.encode(), fields.relayed(answer[:2]) + answer[2:])
    if request.transport is not None:
        request.transport.write(head if request.method == "HEAD" else head + body)
    return Written(status=problem.status, close=close)


def connection_fields(request: web.BaseRequest, *, close: bool) -> list[Field]:
    """Told only where it differs from what the version of HTTP means by silence."""
    if close:
        return [(b"Connection", b"close")]
    return [(b"Connection", b"keep-alive")] if request.version < (1, 1) else []


def _interim(told: list[Field]) -> list[Field]:
    dropped = fields.RESPONSE_DROPPED | fields.connection_tokens(told)
    return [(name, value) for name, value in told if name.lower() not in dropped]


def _framed(piece: bytes, *, chunked: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and piece else piece
