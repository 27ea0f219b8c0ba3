"""The express lane: a connection from a client at the end of its wire, with no task, future or timer per request.

Requests are taken one at a time, in their order; what a client sends ahead is kept until its turn. Every head is read
by the codec, so nothing goes on that it has not validated. A request to change the protocol becomes a tunnel if its
answer says so: then bytes are passed on both ways as they come.
"""

import asyncio
import logging
import re
from http import HTTPStatus
from typing import Final

from hotswap.metrics import Count
from router import sticky, target
from router.codec import grammar
from router.codec.body import BadBody, Body, Chunked, Sized, UntilClosed
from router.codec.requests import Fields, Line, RequestReader
from router.counters import Own
from router.fields import connection_line
from router.forwarding import Peer
from router.ids import Ids
from router.lane import QUIET, Client, Lane
from router.problems import Problem, late_body, malformed, too_large
from router.reading import FIRST, HELD, Ahead
from router.refusal import refusal
from router.relay import Relay
from router.routes import Route
from router.target import Target
from router.usage import NO_CELL
from router.wire import Wire

log = logging.getLogger(__name__)

EMPTY_LINES: Final = re.compile(rb"\A(?:\r\n)++")
NOBODY_THERE: Final = Peer("unknown")
LARGE: Final = 8_192
"""Bytes of a piece from which on a copy of it costs more than to tell the kernel of several parts."""
NOBODY: Final = b"-"
"""Id of a request that could not be read."""


class ExpressConnection(Client):
    __slots__ = (
        "_body",
        "_closing",
        "_express",
        "_fields",
        "_held",
        "_id",
        "_in_head",
        "_lane",
        "_line",
        "_peer",
        "_pending",
        "_reader",
        "_relay",
        "_stalled",
        "_wire",
        "heard",
    )

    def __init__(self, express: "Express", lane: Lane) -> None:
        # global
        self._express = express
        self._lane = lane
        # per connection
        self.heard = lane.clock()
        """When a byte last came."""
        self._wire: Wire
        self._reader: RequestReader
        self._peer = NOBODY_THERE
        self._pending = b""
        """What has come and is not read yet."""
        self._in_head = False
        """A part of a head has come."""
        self._held = False
        """Nothing is read from the client."""
        self._stalled = False
        """The client takes nothing."""
        self._closing = False
        """The last answer is out; what still comes is dropped."""
        # per request
        self._line: Line | None = None
        self._fields: Fields | None = None
        self._id = NOBODY
        self._body: Body | None = None
        """While it is not whole."""
        self._relay: Relay | None = None

    def connection_made(self, wire: Wire) -> None:
        self._wire = wire
        self._peer = self._lane.trust.peer(wire.peer) if wire.peer else NOBODY_THERE
        self._reader = RequestReader(self._peer)
        self._express.connections.add(self)
        self._lane.wheel.limit(self, self.heard + self._express.keep_alive)

    def takes(self) -> int:
        relay = self._relay
        if relay is None:
            return FIRST
        return max(HELD - len(self._pending) if self._body is None else relay.takes(), 1)

    def data_received(self, data: bytes) -> None:
        self.heard = now = self._lane.clock()
        if self._relay is None and not (self._stalled or self._closing):
            self._read(self._pending + data if self._pending else data, now)
        elif self._relay is not None and self._body is not None:
            self._read_body(self._body, self._relay, data, now)
        elif not self._closing:
            self._pending += data
            if len(self._pending) >= HELD:
                self.hold()

    def eof_received(self) -> bool:
        """In a tunnel the client may end its side and still hear the other."""
        relay = self._relay
        if relay is None or not relay.tunnels:
            return False
        relay.client_ended()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._express.connections.discard(self)
        self._lane.wheel.forget(self)
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.cancel()

    def pause_writing(self) -> None:
        self._stalled = True
        if self._relay is not None:
            self._relay.pause()
        self._set_limit(self._lane.clock())

    def resume_writing(self) -> None:
        self._stalled = False
        if self._relay is None and not self._closing:
            self._next()
            return
        if self._relay is not None:
            self._relay.resume()
        self._set_limit(self._lane.clock())

    def overdue(self, now: float) -> None:
        relay = self._relay
        if relay is None or self._stalled:
            self._wire.abort()
        elif self._body is not None and not self._held:
            relay.spoiled(late_body(self._lane.limits.body_timeout))
        else:
            relay.overdue()

    @property
    def idle(self) -> bool:
        """No request is on its way on it."""
        return self._relay is None and not (self._pending or self._closing)

    def close(self) -> None:
        self._relay = None
        self._closing = True
        self._wire.close()

    @property
    def last(self) -> bool:
        return self._lane.draining or self._body is not None or self._fields is None or self._fields.last

    def ahead(self) -> Ahead:
        return Ahead(self._wire)

    def write(self, data: bytes, piece: bytes = b"", tail: bytes = b"") -> None:
        if len(piece) >= LARGE:
            self._wire.write_parts((data, piece, tail))
            return
        if piece:  # compiled code copies what it adds nothing to
            data = data + piece if data else piece
        self._wire.write(data + tail if tail else data)

    def finish(self, data: bytes, piece: bytes = b"", tail: bytes = b"", *, last: bool, now: float) -> None:
        self._relay = None
        self.write(data, piece, tail)
        if last:
            self._end(linger=self._body is not None)
        elif self._pending or self._held:
            self._go_on_reading()
            asyncio.get_running_loop().call_soon(self._next)
        elif not self._stalled:
            self._lane.wheel.limit(self, now + self._express.keep_alive)

    def refuse(self, problem: Problem) -> None:
        log.debug("a request is refused: %s", problem)
        self._relay = None
        last = self.last or problem.close
        minor = self._line.minor if self._line else 1
        headless = self._line is not None and self._line.headless
        added = connection_line(last=last, minor=minor)
        data = refusal(problem, request_id=self._id, added=added, headless=headless)
        if last:
            self._wire.write(data)
            self._end(linger=True)
        else:
            self.finish(data, last=False, now=self._lane.clock())

    def begin_tunnel(self) -> None:
        relay = self._relay
        assert relay is not None
        self._body = UntilClosed()
        self.go_on()
        data, self._pending = self._pending, b""
        if data:
            relay.more(data, whole=False)

    def write_eof(self) -> None:
        self._wire.write_eof()

    def cut(self) -> None:
        self._relay = None
        self._closing = True
        self._wire.abort()

    def hold(self) -> None:
        if not self._held:
            self._held = True
            self._wire.pause_reading()
            self._set_limit(self._lane.clock())

    def go_on(self) -> None:
        self._go_on_reading()
        self._set_limit(self._lane.clock())

    def _go_on_reading(self) -> None:
        if self._held:
            self._held = False
            self._wire.resume_reading()

    def _end(self, *, linger: bool) -> None:
        """The connection, after its last answer. A client that still sends would lose that to the reset which answers
        its next bytes, so these are read on for a while."""
        self._closing = True
        if linger and not self._wire.closing:
            self._go_on_reading()
            self._wire.write_eof()
        else:
            self._wire.close()
        limits = self._lane.limits
        self._lane.wheel.limit(self, self._lane.clock() + (limits.write_timeout if self._stalled else limits.linger))

    def _next(self) -> None:
        """What was sent ahead."""
        if self._relay is None and not (self._closing or self._stalled):
            now = self._lane.clock()
            self._set_limit(now)
            self._go_on_reading()
            data, self._pending = self._pending, b""
            if data:
                self._read(data, now)

    def _set_limit(self, now: float) -> None:
        relay, limits = self._relay, self._lane.limits
        uploading = relay is not None and self._body is not None and not (self._held or relay.tunnels)
        if relay is not None:
            relay.wait_for_client(now, waits=uploading or self._stalled)
        if self._stalled:
            deadline = now + limits.write_timeout
        elif relay is not None:
            deadline = now + limits.body_timeout if uploading else relay.deadline
        elif self._closing:
            deadline = now + limits.linger
        else:
            deadline = now + (limits.head_timeout if self._in_head else limits.keep_alive)
        self._lane.wheel.limit(self, deadline)

    def _read(self, data: bytes, now: float) -> None:
        """A request, from its start; empty lines before it are let pass (RFC 9112 section 2.2)."""
        if data[0] == grammar.CR:
            data = EMPTY_LINES.sub(b"", data, count=1)
            if data in {b"", b"\r"}:
                self._pending = data
                return
        try:
            head = self._reader.read(data)
        except Problem as problem:
            self._line, self._fields, self._id = None, None, NOBODY
            self._lane.counting.own(Own.MALFORMED)
            self.refuse(problem)
            return
        if head is None:
            self._pending = data
            if not self._in_head:
                self._in_head = True
                self._lane.wheel.limit(self, now + self._lane.limits.head_timeout)
            return
        self._in_head = False
        self._line, self._fields = line, fields = head
        self._id = fields.request_id or self._express.ids.next()
        self._body, self._pending = None, data[self._reader.end :]
        try:
            self._begin(line, fields, b"" if fields.bodiless else self._begin_body(fields), now)
        except Problem as problem:
            self._lane.counting.own(Own.REFUSED)
            self.refuse(problem)

    def _begin_body(self, fields: Fields) -> bytes:
        """What has come of it."""
        body: Body = Chunked() if fields.length is None else Sized(fields.length)
        try:
            piece, self._pending = body.read(self._pending)
        except BadBody as error:
            raise malformed(str(error)) from None
        self._body = None if body.done else body
        return piece

    def _begin(self, line: Line, fields: Fields, piece: bytes, now: float) -> None:
        """Raises `Problem` for what cannot be relayed."""
        lane = self._lane
        named = line.target
        if not isinstance(named, Target):
            raise Problem(named.status, named.detail, fields=named.fields)
        if fields.expect is not None and fields.expect != b"100-continue":
            raise Problem(HTTPStatus.EXPECTATION_FAILED, "nothing but 100-continue can be expected")
        route = lane.routes.find(named.function, named.qualifier)
        if not isinstance(route, Route):
            raise target.not_found(route, named)
        if named.invoke:
            target.check_invocation_type(grammar.value(fields.received, b"x-amz-invocation-type"))
        by, cell = route.sticky_by, NO_CELL
        if by:
            version, cell = route.pick_for(sticky.key(by, field=self._field, client=self._user), lane.rng)
        else:
            version = route.pick()
        destination = route.destinations.get(version) or lane.routes.destination(route, version)
        if fields.request_id is None:
            self._id += destination.marked(cell) if by else destination.mark
        if fields.length is not None and fields.length > destination.max_body:
            raise too_large(destination.max_body)
        self._relay = relay = Relay(lane, self, line, fields, named, route, destination, request_id=self._id, began=now)
        if by:
            relay.cell = cell
        relay.start(piece, whole=self._body is None, now=now)
        if self._relay is relay:
            if self._body is None:
                lane.wheel.limit(self, relay.deadline)
                return
            self._set_limit(now)

    def _read_body(self, body: Body, relay: Relay, data: bytes, now: float) -> None:
        try:
            piece, self._pending = body.read(data)
        except BadBody as error:
            problem = malformed(f"the body is not what its head says: {error}")
            problem.outcome = Count.CLIENT_ERROR
            relay.spoiled(problem)
            return
        if body.done:
            self._body = None
        if piece or body.done:
            relay.more(piece, whole=body.done)
        if self._relay is relay:
            self._set_limit(now)

    def _user(self) -> str:
        assert self._fields is not None
        return self._lane.trust.client(self._peer, self._fields.forwarded_for)

    def _field(self, name: str) -> str | None:
        assert self._fields is not None
        found = grammar.value(self._fields.received, name.encode())
        return None if found is None else found.decode("utf-8", "surrogateescape")


class Express:
    """Makes a connection of each client that comes."""

    def __init__(self, lane: Lane) -> None:
        self.connections: set[ExpressConnection] = set()
        self.ids = Ids(lane.rng)
        self.keep_alive: float = lane.limits.keep_alive
        self._lane = lane

    def __call__(self) -> ExpressConnection:
        return ExpressConnection(self, self._lane)

    def close_idle(self) -> None:
        """Those that no request is on its way on."""
        now = self._lane.clock()
        for connection in list(self.connections):
            if connection.idle and now - connection.heard > QUIET:
                connection.close()

    def cut(self) -> None:
        """All of them."""
        for connection in list(self.connections):
            connection.cut()
