"""A connection to an endpoint: HTTP/1.1, one request at a time, kept alive.

A `Connection` reads responses with the codec and tells its `Receiver` what arrives, at once and without a task; so it
serves a lane that waits and one that does not. It knows nothing of retries, of versions, or of what is counted.

What it sees to: bytes that no request asked for end the connection and reach nobody; a response that two readers may
read in two ways is broken, not relayed; and it goes back to its pool only after a whole request and a whole response.
"""

from enum import IntEnum
from typing import Final

from mypy_extensions import mypyc_attr

from router.codec.body import BadBody, Body, Chunked, Sized, StillFramed, UntilClosed
from router.codec.grammar import BARE_LF, END, MOST_HEAD
from router.codec.responses import (
    FINAL,
    LONGEST_KEPT,
    NOT_MODIFIED,
    SWITCHING_PROTOCOLS,
    BadResponse,
    Head,
    read_head,
)
from router.reading import FIRST, HELD, Ahead
from router.wire import End, Wire


class Broken(Exception):
    """The connection ended, or what came over it is not a response."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Receiver:
    """Called by a connection: `interim` any number of times, `head`, and `body` until the response has `ended`; or
    `broken` at any time instead of what is still missing. When it has ended, the connection may be another's."""

    def interim(self, head: Head) -> None:
        raise NotImplementedError

    def head(self, head: Head, piece: bytes, *, ended: bool) -> None:
        """Of the final response, with what of its body came along."""
        raise NotImplementedError

    def body(self, piece: bytes, *, ended: bool) -> None:
        raise NotImplementedError

    def broken(self, error: Broken) -> None:
        raise NotImplementedError

    def wanted(self) -> int:
        """Bytes of the body that may be read for it at a time."""
        raise NotImplementedError

    def drained(self) -> None:
        """The connection is not `backed_up` any more."""
        raise NotImplementedError


class State(IntEnum):
    NEW = 0
    IDLE = 1
    ACTIVE = 2
    """From the first byte of a request to the last byte of its response."""
    TUNNEL = 3
    CLOSED = 4


IDLE: Final = State.IDLE
ACTIVE: Final = State.ACTIVE


class Home:
    """Where the connections to an endpoint come from: their pool, as far as they know of it."""

    __slots__ = ("address",)

    address: str

    def put_back(self, connection: "Connection") -> None:
        """It is free for another request, or closed."""
        raise NotImplementedError

    def discard(self, connection: "Connection") -> None:
        """It is closed."""
        raise NotImplementedError


class Connection(End):
    __slots__ = (
        "_body",
        "_chunks",
        "_headless",
        "_home",
        "_keep",
        "_known",
        "_partial",
        "_paused",
        "_receiver",
        "_sent",
        "_wire",
        "answered",
        "backed_up",
        "reused",
        "state",
    )

    def __init__(self, home: Home) -> None:
        # global
        self._home = home
        # per connection
        self.state = State.NEW
        self.reused = False
        self.backed_up = False
        """More is written than the endpoint takes now; the receiver hears when it is `drained`."""
        self._wire: Wire | None = None
        self._paused = False
        self._known: Head | None = None
        """Of the final answer before: most that is answered over one connection begins alike."""
        # per request
        self._receiver: Receiver | None = None
        self._headless = False
        self._chunks = False
        self._sent = False
        # per response
        self.answered = False
        """Whether any byte of it has come."""
        self._partial = b""
        """Of a head."""
        self._body: Body | None = None
        """Since the final head has come."""
        self._keep = False

    def __repr__(self) -> str:
        return f"<Connection {self._home.address} {self.state.name}>"

    def begin(self, receiver: Receiver, *, headless: bool, chunks: bool) -> None:
        """The next bytes written are a request; what answers it goes to the receiver. `headless`: without a body;
        `chunks`: a body that comes in chunks is given in them."""
        self.reused = self.state is IDLE
        self.state = ACTIVE
        self._receiver = receiver
        self._headless = headless
        self._chunks = chunks
        self._sent = self.answered = False
        self._body = None

    def ahead(self) -> Ahead:
        """How much may be read for it."""
        return Ahead(self._wire)

    def write(self, data: bytes) -> None:
        if self._wire is not None:
            self._wire.write(data)

    def sent(self) -> None:
        """The request is whole; without this the connection is not used again."""
        self._sent = True

    def pause(self) -> None:
        if self._wire is not None and not self._wire.closing:
            self._paused = True
            self._wire.pause_reading()

    def resume(self) -> None:
        if self._paused and self._wire is not None:
            self._wire.resume_reading()
        self._paused = False

    def write_eof(self) -> None:
        """The client's side of a tunnel has ended."""
        if self._wire is not None:
            self._wire.write_eof()

    def abort(self) -> None:
        """At once, whatever is under way; the receiver hears nothing more."""
        self._receiver = None
        self._close()

    def close(self) -> None:
        """When what was written is out; the receiver hears nothing more."""
        self._receiver = None
        self.state = State.CLOSED
        if self._wire is not None:
            self._wire.close()

    def connection_made(self, wire: Wire) -> None:
        self._wire = wire

    def takes(self) -> int:
        receiver = self._receiver
        streams = self._body is not None or self.state is State.TUNNEL
        return max(receiver.wanted(), 1) if streams and receiver is not None else FIRST

    def data_received(self, data: bytes) -> None:
        if self.state is not ACTIVE or self._receiver is None:
            self._unasked(data)
            return
        self.answered = True
        try:
            if self._body is None:
                self._read_head(self._partial + data if self._partial else data)
            else:
                self._read_body(self._body, data)
        except (BadResponse, BadBody) as error:
            self._break(str(error))

    def eof_received(self) -> bool:
        if self.state is State.TUNNEL and self._receiver is not None:
            self._receiver.body(b"", ended=True)
            return True
        if self.state is IDLE:  # nobody takes it any more
            self.state = State.CLOSED
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.state is ACTIVE and isinstance(self._body, UntilClosed) and error is None:
            self._keep = False
            self._finish(b"")
        elif self.state in {ACTIVE, State.TUNNEL}:
            self._break(f"it closed the connection: {error}" if error else "it closed the connection")
        self.state = State.CLOSED
        self._wire = None
        self._home.discard(self)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.backed_up = True

    def resume_writing(self) -> None:
        self.backed_up = False
        if self._receiver is not None:
            self._receiver.drained()

    def _unasked(self, data: bytes) -> None:
        if self.state is State.TUNNEL and self._receiver is not None:
            self._receiver.body(data, ended=False)
        else:
            self._close()

    def _read_head(self, data: bytes) -> None:
        """Interim ones too, until the final one."""
        known = self._known
        if known is not None and data.startswith(known.came):
            self._partial = b""
            self._begin_body(known, data[len(known.came) :])
            return
        while True:
            told, end, data = data.partition(END)  # which takes half the time of a search
            if not end:
                data = told
                break
            head = read_head(told)
            if head.status >= FINAL or head.status == SWITCHING_PROTOCOLS:
                self._partial = b""
                self._known = head if len(told) <= LONGEST_KEPT else None
                self._begin_body(head, data)
                return
            if self._receiver is not None:
                self._receiver.interim(head)
        self._partial = data
        if len(data) > MOST_HEAD:
            raise BadResponse(f"the head of its answer is larger than {MOST_HEAD} bytes")
        if BARE_LF.search(data):
            raise BadResponse("its answer is not HTTP/1.1")

    def _begin_body(self, head: Head, data: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        self._keep = head.keep
        length = 0 if self._headless or head.status == NOT_MODIFIED else head.length
        if head.status == SWITCHING_PROTOCOLS:
            self.state = State.TUNNEL
            receiver.head(head, data, ended=False)
        elif length == len(data) <= HELD:  # most often it has come whole
            self._put_back()
            receiver.head(head, data, ended=True)
        else:
            self._body = body = _body(head, length, chunks=self._chunks)
            piece, rest = body.read(data)
            ended = body.done
            if ended:
                self._keep = self._keep and not rest
                self._put_back()
            receiver.head(head, piece, ended=ended)

    def _read_body(self, body: Body, data: bytes) -> None:
        piece, rest = body.read(data)
        if body.done:
            self._keep = self._keep and not rest  # nobody asked for more
            self._finish(piece)
        elif piece and self._receiver is not None:
            self._receiver.body(piece, ended=False)

    def _finish(self, piece: bytes) -> None:
        receiver = self._receiver
        self._put_back()
        if receiver is not None:
            receiver.body(piece, ended=True)

    def _put_back(self) -> None:
        """The response has ended."""
        self._receiver = None
        if self._keep and self._sent:
            self.state = IDLE
            self.resume()  # what its last exchange still holds is not the next one's concern
            self._home.put_back(self)
        else:
            self._close()

    def _break(self, why: str) -> None:
        receiver, self._receiver = self._receiver, None
        self._close()
        if receiver is not None:
            receiver.broken(Broken(f"{self._home.address}: {why}"))

    def _close(self) -> None:
        self.state = State.CLOSED
        if self._wire is not None:
            self._wire.abort()


def _body(head: Head, length: int | None, *, chunks: bool) -> Body:
    if length is not None:
        return Sized(length)
    if not head.chunked:
        return UntilClosed()
    return StillFramed() if chunks else Chunked()
