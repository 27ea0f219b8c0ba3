"""Connections to endpoints: HTTP/1.1, one request at a time, kept alive in a pool per endpoint.

A `Connection` reads responses with llhttp and tells its `Receiver` what arrives, at once and without a task; so it
serves a lane that waits and one that does not. It knows nothing of retries, of versions, or of what is counted.

What it sees to: bytes that no request asked for end the connection and reach nobody; a response that two readers may
read in two ways is broken, not relayed; and it goes back to its pool only after a whole request and a whole response.
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, Protocol, cast

import httptools

from router.fields import Field

CONNECT_LIMIT = 1.0
"""Seconds."""
IDLE_LIMIT = 4.0
"""Seconds; below the 5 s after which uvicorn and Node close an idle connection, so that we do first."""
MOST_IDLE = 256
"""Connections that a pool keeps."""
HEAD_LIMIT = 65_536
"""Bytes of a response's head, as for requests."""
FINAL = 200
"""Statuses below this one are interim."""
SWITCHING_PROTOCOLS = 101
"""The only one of them that ends what is HTTP."""


class ConnectFailed(Exception):
    """No connection could be made: nothing was sent."""


class Broken(Exception):
    """The connection ended, or what came over it is not a response."""


class Head(NamedTuple):
    status: int
    reason: bytes
    fields: list[Field]
    length: int | None
    """Of the body, if it was told."""


class Receiver(Protocol):
    """Called by a connection, in this order: `head` (interim ones too), `body` any number of times, then `end`; or
    `broken` at any time instead of what is still missing."""

    def head(self, head: Head) -> None: ...

    def body(self, piece: bytes) -> None: ...

    def end(self) -> None: ...

    def broken(self, error: Broken) -> None: ...


class State(IntEnum):
    NEW = 0
    IDLE = 1
    ACTIVE = 2
    """From the first byte of a request to the last byte of its response."""
    TUNNEL = 3
    CLOSED = 4


class Connection(asyncio.Protocol):
    def __init__(self, pool: "Pool") -> None:
        # global
        self._pool = pool
        # per connection
        self.state = State.NEW
        self.reused = False
        self._transport: asyncio.Transport | None = None
        self._drained: asyncio.Future[None] | None = None
        # per request
        self._receiver: Receiver | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headless = False
        self._sent = False
        # per response
        self.answered = False
        """Whether any byte of it has come."""
        self._fields: list[Field] = []
        self._reason = b""
        self._in_head = False
        self._head_bytes = 0
        self._keep = False
        self._ends_with_connection = False
        self._complete = False

    def __repr__(self) -> str:
        return f"<Connection {self._pool.address} {self.state.name}>"

    def begin(self, receiver: Receiver, *, method: str) -> None:
        """The next bytes written are a request; what answers it goes to the receiver."""
        self.reused = self.state is State.IDLE
        self.state = State.ACTIVE
        self._receiver = receiver
        self._parser = httptools.HttpResponseParser(self)
        self._headless = method == "HEAD"
        self._sent = self.answered = self._complete = False
        self._reset_response()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def sent(self) -> None:
        """The request is whole; without this the connection is not used again."""
        self._sent = True

    @property
    def backed_up(self) -> bool:
        """More is written than the endpoint takes now: `drain` before the next `write`."""
        return self._drained is not None

    async def drain(self) -> None:
        """Returns when the endpoint has taken enough, or is gone."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def write_eof(self) -> None:
        """The client's side of a tunnel has ended."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def abort(self) -> None:
        """At once, whatever is under way; the receiver hears nothing more."""
        self._receiver = None
        self._close()

    def close(self) -> None:
        """When what was written is out; the receiver hears nothing more."""
        self._receiver = None
        self.state = State.CLOSED
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.state is State.TUNNEL:
            self._tell_body(data)
            return
        if self.state is not State.ACTIVE or self._parser is None:
            self._close()
            return
        self.answered = True
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._enter_tunnel(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._keep = False
            if not self._complete:
                self._break(f"its answer is not HTTP: {error.__context__ or error}")
                return
        if self._complete:
            self._finish()
        elif self._in_head and self._head_bytes > HEAD_LIMIT:
            self._break(f"the head of its answer is larger than {HEAD_LIMIT} bytes")

    def eof_received(self) -> bool:
        if self.state is State.TUNNEL:
            if self._receiver:
                self._receiver.end()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        ended_well = self.state is State.ACTIVE and self._ends_with_connection and exc is None
        if ended_well:
            self._keep = False
            self._finish()
        elif self.state in {State.ACTIVE, State.TUNNEL}:
            self._break(f"it closed the connection: {exc}" if exc else "it closed the connection")
        self.state = State.CLOSED
        self._transport = None
        self._pool.discard(self)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # those of a trailer are dropped
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        assert self._receiver is not None
        status = self._parser.get_status_code()
        length, chunked = _framing(self._fields)
        head = Head(status, self._reason, self._fields, length)
        self._in_head = False
        self._keep = self._parser.should_keep_alive()
        bodiless = self._headless or status < FINAL or status in {204, 304}
        self._ends_with_connection = not (bodiless or chunked or length is not None)
        self._receiver.head(head)
        if self._headless and status >= FINAL:
            self._complete = True

    def on_body(self, piece: bytes) -> None:
        if self._complete:
            self._keep = False
        else:
            self._tell_body(piece)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._parser.get_status_code() >= FINAL:
            self._complete = True
        else:
            self._reset_response()

    def _tell_body(self, piece: bytes) -> None:
        if self._receiver is not None:
            self._receiver.body(piece)

    def _reset_response(self) -> None:
        self._fields = []
        self._reason = b""
        self._in_head = True
        self._head_bytes = 0
        self._ends_with_connection = False

    def _enter_tunnel(self, first: bytes) -> None:
        self.state = State.TUNNEL
        if first:
            self._tell_body(first)

    def _finish(self) -> None:
        receiver, self._receiver = self._receiver, None
        if self._keep and self._sent:
            self.state = State.IDLE
            self.resume()  # what its last exchange still holds is not the next one's concern
            self._pool.put_back(self)
        else:
            self._close()
        if receiver is not None:
            receiver.end()

    def _break(self, why: str) -> None:
        receiver, self._receiver = self._receiver, None
        self._close()
        if receiver is not None:
            receiver.broken(Broken(f"{self._pool.address}: {why}"))

    def _close(self) -> None:
        self.state = State.CLOSED
        if self._transport is not None:
            self._transport.abort()


class Pool:
    """The connections of this worker to one endpoint."""

    def __init__(self, address: str, *, clock: Callable[[], float]) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._clock = clock
        self._idle: list[tuple[Connection, float]] = []
        """With the time since when; the one used last is used next."""
        self._closed = False

    def reuse(self) -> Connection | None:
        while self._idle:
            connection, _ = self._idle.pop()
            if connection.state is State.IDLE:
                return connection
        return None

    async def connect(self) -> Connection:
        """Raises `ConnectFailed`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port)
        except TimeoutError:
            raise ConnectFailed(f"{self.address} took no connection within {CONNECT_LIMIT:g} s") from None
        except OSError as error:
            raise ConnectFailed(f"{self.address} took no connection: {error.strerror or error}") from None
        return connection

    def put_back(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= MOST_IDLE:
            connection.close()
        else:
            self._idle.append((connection, self._clock()))

    def discard(self, connection: Connection) -> None:
        if self._idle:
            self._idle = [entry for entry in self._idle if entry[0] is not connection]

    def sweep(self) -> None:
        """Closes what was idle for too long."""
        oldest = self._clock() - IDLE_LIMIT
        late = [connection for connection, since in self._idle if since < oldest]
        self._idle = [entry for entry in self._idle if entry[1] >= oldest]
        for connection in late:
            connection.close()

    def close(self) -> None:
        """The endpoint left: idle connections are closed now, each busy one when its request is done."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()


def _framing(fields: list[Field]) -> tuple[int | None, bool]:
    """Length and whether it is chunked; llhttp has seen to it that there are not both, and not two lengths."""
    length, codings = None, []
    for key, found in fields:
        match key.lower():
            case b"content-length":
                length = int(found)
            case b"transfer-encoding":
                codings.append(found.strip().lower())
    if codings and codings != [b"chunked"]:
        raise ValueError("a transfer coding other than chunked")
    return length, bool(codings)
