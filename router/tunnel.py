"""After a 101: bytes both ways, each side no faster than the other takes them, each way ended by itself."""

import asyncio
from typing import Protocol, cast

from aiohttp import web

from router import fields
from router.codec.responses import Head
from router.download import Written
from router.exchange import Exchange


class FromClient:
    """What aiohttp gives the client's bytes to, once the connection is not HTTP any more."""

    def __init__(self, request: web.BaseRequest, exchange: Exchange) -> None:
        self.ended = asyncio.Event()
        self._request = request
        self._exchange = exchange
        self._resuming: asyncio.Future[None] | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """As aiohttp's own readers do it: whether it is over, and what is left."""
        connection = self._exchange.connection
        connection.write(data)
        transport = self._request.transport
        if connection.backed_up and self._resuming is None and transport is not None:
            transport.pause_reading()
            self._resuming = asyncio.ensure_future(self._exchange.drain())
            self._resuming.add_done_callback(self._resume)
        return False, b""

    def feed_eof(self) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self._exchange.connection.write_eof()

    def stop(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()

    def _resume(self, _: asyncio.Future[None]) -> None:
        self._resuming = None
        transport = self._request.transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()


class TunnelEnd(Protocol):
    """The client's connection."""

    def begin_tunnel(self, reader: FromClient) -> None: ...


async def tunnel(request: web.BaseRequest, exchange: Exchange, head: Head, added: bytes) -> Written:
    """Until both sides have ended. Raises `Broken` if the function's does so badly."""
    from_client = FromClient(request, exchange)
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    upgrade = fields.upgrade_lines(head.upgrade or b"websocket")
    date = b"" if head.dated else fields.date_line()
    transport.write(b"".join((head.start, head.lines, added, date, upgrade, fields.END)))
    try:
        cast("TunnelEnd", request.protocol).begin_tunnel(from_client)
        while piece := await exchange.next_piece():
            transport.write(piece)
            if request.protocol.writing_paused:
                await request.writer.drain()
        if transport.can_write_eof():
            transport.write_eof()
        await from_client.ended.wait()
    finally:
        from_client.stop()
        exchange.connection.close()
    return Written(status=head.status, close=True)
