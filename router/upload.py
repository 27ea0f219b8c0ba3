"""A request's body on its way from the client to a function.

Small bodies are there when the head is, and go out with it, once or again. Others are streamed while the response may
already come: the client is read no faster than the function takes it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from aiohttp import web

from hotswap.metrics import Count
from hotswap.settings import RouterLimits
from router import fields
from router.codec.body import LAST_CHUNK, framed
from router.exchange import Exchange
from router.fields import Framing
from router.limit import Limit
from router.problems import Problem, late_body, malformed, too_large
from router.reading import gathered
from router.upstream import Broken

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Upload:
    def __init__(self, request: web.BaseRequest, *, most: int, limit: Limit, limits: RouterLimits) -> None:
        """Takes at most so many bytes. Raises `Problem` for a length above that, and for what nobody can expect."""
        self._request = request
        self._most = most
        self._limit = limit
        self._pause = limits.body_timeout
        """Seconds between two reads."""
        self._expecting = _expects_continue(request)
        self.framing = _framing(request)
        if self.framing.length is not None and self.framing.length > most:
            raise too_large(most)
        self.problem: Problem | None = None
        """Why the body could not be sent whole, if that was the client's doing."""
        self._whole: bytes | None = b"" if request.content.at_eof() else None
        self._task: asyncio.Task[None] | None = None
        self._started = False

    @property
    def again(self) -> bool:
        """Whether it can be sent once more: nothing has been read that is not kept."""
        return self._whole is not None or not self._started

    @property
    def unfinished(self) -> bool:
        return self._task is not None and not self._task.done()

    async def gather(self) -> None:
        """Returns at once but for a small body. Raises `Problem` if that does not come as it was promised."""
        if self._whole is None and gathered(self.framing.length) and not self._expecting:
            with _promised(self._pause):
                pieces = []
                while piece := await self._read():
                    pieces.append(piece)
                self._whole = b"".join(pieces)

    def start(self, exchange: Exchange, head: bytes) -> None:
        """Sends the head and the body; to be followed by `stop`."""
        content = self._request.content
        if self._whole is None and not self._started and content.is_eof():
            self._whole = content.read_nowait(-1)
        self._started = True
        if self._whole is None:
            exchange.connection.write(head)
            self._task = asyncio.create_task(self._stream(exchange), name="upload")
        elif len(self._whole) > self._most:
            raise too_large(self._most, outcome=Count.CLIENT_ERROR)
        else:
            exchange.connection.write(head + self._framed(self._whole) + self._last())
            exchange.connection.sent()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled() and (error := self._task.exception()):
                raise error

    async def _stream(self, exchange: Exchange) -> None:
        """Ends the exchange if the client does not send what it promised."""
        try:
            with _promised(self._pause):
                await self._copy(exchange)
        except Problem as problem:
            self.problem = problem
            exchange.connection.abort()
            exchange.broken(Broken("the request's body ended early"))

    async def _copy(self, exchange: Exchange) -> None:
        self._continue()
        connection = exchange.connection
        sent = 0
        while piece := await self._read():
            sent += len(piece)
            if sent > self._most:
                raise too_large(self._most, outcome=Count.CLIENT_ERROR)
            connection.write(self._framed(piece))
            if connection.backed_up:
                await exchange.drain()
        connection.write(self._last())
        connection.sent()

    async def _read(self) -> bytes:
        with self._limit.suspended():
            async with asyncio.timeout(self._pause):
                return await self._request.content.readany()

    def _continue(self) -> None:
        transport = self._request.transport
        if self._expecting and transport is not None:
            self._expecting = False
            transport.write(CONTINUE)

    def _framed(self, piece: bytes) -> bytes:
        return framed(piece) if self.framing.chunked else piece

    def _last(self) -> bytes:
        return LAST_CHUNK if self.framing.chunked else b""


@contextmanager
def _promised(pause: float) -> Iterator[None]:
    """Raises `Problem` for a client that does not send what it has told of."""
    try:
        yield
    except TimeoutError:
        raise late_body(pause) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        problem = malformed(f"the body is not what its head says: {error}")
        problem.outcome = Count.CLIENT_ERROR
        raise problem from None


def _expects_continue(request: web.BaseRequest) -> bool:
    expect = fields.value(request.raw_headers, b"expect")
    if expect is None or request.version < (1, 1):
        return False
    if expect.lower() != b"100-continue":
        raise Problem(HTTPStatus.EXPECTATION_FAILED, "nothing but 100-continue can be expected")
    return True


def _framing(request: web.BaseRequest) -> Framing:
    """aiohttp has seen to it that there are not both, and not two lengths."""
    coding = fields.value(request.raw_headers, b"transfer-encoding")
    if coding is not None:
        if request.version < (1, 1):
            raise malformed("HTTP/1.0 has no transfer codings")
        if coding.strip().lower() != b"chunked":
            raise Problem(HTTPStatus.NOT_IMPLEMENTED, "the only transfer coding is chunked", close=True)
        return Framing(chunked=True)
    length = fields.value(request.raw_headers, b"content-length")
    return Framing(length=int(length)) if length is not None else Framing()
