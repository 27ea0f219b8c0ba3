"""Connections from clients: aiohttp's, with limits on silence, and answers of ours for what is not HTTP."""

import asyncio
import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import cast

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from router.bounding import Bounding
from router.counters import Own
from router.download import refuse
from router.general import General
from router.lane import QUIET, Lane
from router.problems import Problem
from router.reading import HELD
from router.tunnel import FromClient

log = logging.getLogger(__name__)

READ_BUFFER = HELD // 8
"""Bytes; aiohttp stops reading above twice as many, and as many come with one read, so that twice that can be there
while as much again is written."""


class ClientConnection(web.RequestHandler):
    __slots__ = ("_body", "_clients", "_tunnel", "busy", "heard", "since", "started")

    def __init__(self, clients: "Clients", **settings: float | None) -> None:
        super().__init__(clients, loop=asyncio.get_running_loop(), **settings)  # type: ignore[arg-type]
        self.busy = False
        """A request is being answered."""
        self.heard = self._loop.time()
        """When a byte last came."""
        self.since = self.heard
        """Since when there was no request on its way, if there is none."""
        self.started: float | None = None
        """When the first byte of a head came that is not whole yet."""
        self._clients = clients
        self._body: StreamReader | None = None
        """Of the request whose head came last."""
        self._tunnel: FromClient | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # it asks for a pause as soon as the kernel does not take all that is written, and ends it when it has
        cast("asyncio.WriteTransport", transport).set_write_buffer_limits(high=0)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        if not self.busy and self.started is None and data:
            self.started = self.heard
        self._parse(data)

    def go_on(self) -> None:
        """To be called after each request. aiohttp parses 32 requests ahead and keeps the rest; it counts a request
        twice whose body came after its head was taken, stops at fewer then, and does not go on of itself."""
        if not self._messages and self._tunnel is None and (self._body is None or self._body.is_eof()):
            self._parse(b"")

    def _parse(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages:
            self._watch_body()

    def _watch_body(self) -> None:
        """aiohttp tells what is not HTTP after the answer; if it stands in a body, the answer would wait for that."""
        message, body = self._messages[-1]
        if isinstance(message, RawRequestMessage):
            self._body = body
        elif self._body is not None and not self._body.is_eof():
            error = web.RequestPayloadError(str(message.exc))
            self._loop.call_soon(self._body.set_exception, error)  # a reader that wakes now would not look for it again

    def begin_tunnel(self, reader: FromClient) -> None:
        """From here on the client's bytes are not HTTP; what came with the head already is among them."""
        self._tunnel = reader
        self.set_parser(reader)  # type: ignore[arg-type] # it asks for no more than these two methods

    def eof_received(self) -> bool:  # type: ignore[override] # as asyncio has it; aiohttp narrows it
        """In a tunnel the client may end its side and still hear the other."""
        if self._tunnel is None:
            return False
        self._tunnel.feed_eof()
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp could not read the request, or the lane failed."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request failed by a fault of the router", exc_info=exc)
            problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the router failed; its log says why", close=True)
        else:
            self._clients.malformed(exc)
            problem = Problem(_status(exc), "the request is not HTTP/1.1 as RFC 9112 has it", close=True)
        return refuse(request, problem, request_id="-", close=True)


class Clients(web.Server):
    def __init__(self, lane: Lane) -> None:
        super().__init__(self._handle, handler_cancellation=True)
        self._general = General(lane)
        self._counting = lane.counting
        self._limits = lane.limits

    def accept(self) -> Bounding:
        """A connection for each client that comes."""
        return Bounding(self(), most=2 * READ_BUFFER)

    def __call__(self) -> ClientConnection:
        return ClientConnection(
            self,
            keepalive_timeout=self._limits.keep_alive,
            access_log=None,
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            lingering_time=self._limits.linger,
        )

    def malformed(self, error: BaseException | None) -> None:
        self._counting.own(Own.MALFORMED)
        log.debug("a request is refused: %s", error)

    @property
    def gone(self) -> bool:
        return not self.connections

    def close_idle(self) -> None:
        """Those that no request is on its way on."""
        now = asyncio.get_running_loop().time()
        for connection in self._open():
            if not connection.busy and connection.started is None and now - connection.heard > QUIET:
                connection.force_close()

    def sweep(self) -> None:
        """Ends what does not get on with its head, or never begins one; aiohttp ends what is idle after an answer."""
        now = asyncio.get_running_loop().time()
        for connection in self._open():
            head = connection.started is not None and now - connection.started > self._limits.head_timeout
            idle = connection.started is None and now - connection.since > self._limits.keep_alive
            if not connection.busy and (head or idle):
                connection.force_close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, ClientConnection)
        connection.busy, connection.started = True, None
        try:
            return await self._general(request)
        finally:
            connection.busy, connection.since = False, asyncio.get_running_loop().time()
            connection.go_on()

    def _open(self) -> Iterator[ClientConnection]:
        return (connection for connection in self.connections if isinstance(connection, ClientConnection))


def _status(error: BaseException | None) -> HTTPStatus:
    return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if isinstance(error, LineTooLong) else HTTPStatus.BAD_REQUEST
