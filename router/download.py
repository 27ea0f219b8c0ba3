"""A response on its way from a function to the client, as bytes written to the client's connection.

aiohttp's own response would add and rewrite fields; what a function answers reaches the client as it is, but for the
fields that end here. `Written` tells aiohttp that the answer is out and whether the connection goes on.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from hotswap.settings import RouterLimits
from router import fields
from router.codec.body import LAST_CHUNK, framed
from router.codec.responses import NO_CONTENT, NOT_MODIFIED, Head
from router.exchange import Exchange
from router.limit import Limit
from router.problems import Problem
from router.refusal import refusal


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
    def __init__(self, request: web.BaseRequest, exchange: Exchange, limit: Limit, limits: RouterLimits) -> None:
        self._request = request
        self._limit = limit
        self._limits = limits
        self._exchange = exchange
        self.began = False
        """The client has the head: nothing else can be answered any more."""

    def interim(self, head: Head) -> None:
        """A 1xx of the function's; not 100, which the router sends by itself, and not to HTTP/1.0, which has none."""
        if head.status != 100 and self._request.version >= (1, 1):
            self._write(b"%b%b\r\n\r\n" % (head.start, head.lines))

    async def relay(self, head: Head, added: bytes, *, close: bool, ending: Callable[[], None]) -> Written:
        """`ending` is called before the last bytes go out.

        Raises `Broken` if the function does not end its answer; the client's connection is then to be cut.
        """
        bodiless = self._request.method == "HEAD" or head.status in {NO_CONTENT, NOT_MODIFIED}
        undelimited = not bodiless and head.length is None
        chunked = undelimited and self._request.version >= (1, 1)
        close = close or (undelimited and not chunked)
        minor = self._request.version.minor
        ends = fields.answer_end(dated=head.dated, chunked=chunked, last=close, minor=minor)
        self.began = True
        last = await self._copy(b"".join((head.start, head.lines, added, ends)), chunked=chunked)
        ending()
        await self._send(last)
        return Written(status=head.status, close=close)

    async def _copy(self, first: bytes, *, chunked: bool) -> bytes:
        """All but the last bytes, which are returned. What is there already goes out together."""
        exchange = self._exchange
        data = first + _piece(exchange.take(), chunked=chunked)
        while not exchange.ended:
            await self._send(data)
            data = _piece(await exchange.next_piece(), chunked=chunked)
        data += _piece(exchange.take(), chunked=chunked)
        return data + (LAST_CHUNK if chunked else b"")

    async def _send(self, data: bytes) -> None:
        if data:
            self._write(data)
            if self._request.protocol.writing_paused:
                await self._drain()

    async def _drain(self) -> None:
        try:
            with self._limit.suspended():
                async with asyncio.timeout(self._limits.write_timeout):
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
    close = close or problem.close
    if request.transport is not None:
        ends = fields.connection_line(last=close, minor=request.version.minor)
        headless = request.method == "HEAD"
        request.transport.write(refusal(problem, request_id=request_id.encode(), added=ends, headless=headless))
    return Written(status=problem.status, close=close)


def _piece(piece: bytes, *, chunked: bool) -> bytes:
    return framed(piece) if chunked else piece
