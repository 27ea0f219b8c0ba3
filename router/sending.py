"""The request of an invocation in the express lane: an instance is picked for it, and it is sent there.

The common case is one pass: an endpoint is ready and a connection to it is kept. Where none is kept the pool calls when
there is one. What else has to be waited for (a row to count in, an instance) is waited for in a task, after which the
invocation goes on as any other.
"""

import asyncio
import logging
import math
from typing import Final

from hotswap.metrics import Count
from router.balance import Load
from router.codec.body import LAST_CHUNK, framed
from router.codec.requests import Fields, Line
from router.counters import Own
from router.fields import END, upgrade_lines
from router.lane import Client, Lane
from router.outcome import unreachable
from router.pool import Caller, ConnectFailed
from router.problems import Problem, too_large
from router.reading import HELD, Ahead, gathered
from router.routes import Destination, Route
from router.table import VersionEntry
from router.target import Target, of_invoke
from router.upstream import Connection, Receiver
from router.usage import NO_CELL

log = logging.getLogger(__name__)

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Sending(Receiver, Caller):
    """What stands on the class is where most invocations begin and end; setting it anew for each would be felt."""

    # where it goes
    _load: Load | None = None
    _connection: Connection | None = None
    _task: asyncio.Task[None] | None = None
    _sent = 0.0
    _resent = False
    tried: set[Load] | tuple[()] = ()
    """Endpoints that took no connection."""
    cold = False
    """It had to wait for its instance."""
    cell = -1
    """Of its user, where users are tied to versions; else `NO_CELL`."""
    # its body
    _piece = b""
    """What came of it before it was sent; kept afterwards if that was all of it."""
    _whole = True
    _gathers = False
    """A small body is awaited whole before an instance is taken: a slow sender keeps none from others."""
    _streamed = False
    """It cannot be sent again."""
    _received = 0
    _to_instance: Ahead | None = None
    tunnels = False
    """It has become a tunnel: bytes both ways, which are not HTTP."""
    # its limit, which does not run while the client is waited for
    deadline = math.inf
    """When the function should have answered; infinity until it has the request."""
    _waited = 0.0

    def __init__(
        self,
        lane: Lane,
        client: Client,
        line: Line,
        fields: Fields,
        target: Target,
        route: Route,
        destination: Destination,
        *,
        request_id: bytes,
        began: float,
    ) -> None:
        self._lane = lane
        self._client = client
        self._line = line
        self._fields = fields
        self._target = target
        self._route = route
        self._destination = destination
        self._endpoints = destination.endpoints
        self._row = destination.row
        self._id = request_id
        self._began = began

    @property
    def name(self) -> str:
        return f'version {self._destination.version} of "{self._route.function}"'

    @property
    def terms(self) -> VersionEntry:
        return self._destination.terms

    def start(self, piece: bytes, *, whole: bool, now: float) -> None:
        """`piece` is what has come of the body, `whole` if that is all of it. To be called once, before all others."""
        if piece or not whole:
            self._piece, self._whole, self._received = piece, whole, len(piece)
        self._lane.budget.earn()
        if self._row is None:
            self._wait()
            return
        self._lane.counting.begin(self._row)
        self._gathers = not whole and gathered(self._fields.length) and self._fields.expect is None
        if not self._gathers:
            self._try(now)

    def more(self, piece: bytes, *, whole: bool) -> None:
        """Of the body."""
        self._whole = whole
        self._received += len(piece)
        connection = self._connection
        if connection is None:
            self._piece += piece
            if self._gathers and whole:
                self._gathers = False
                self._try(self._lane.clock())
            elif len(self._piece) >= HELD and not whole:
                self._client.hold()
        elif self._received > self._destination.max_body and not self.tunnels:
            self.spoiled(self._too_large())
        else:
            connection.write(self._body(piece))
            if whole:
                connection.sent()
            elif connection.backed_up:
                self._to_instance = None
                self._client.hold()
            elif self._to_instance is not None:
                self._to_instance.written(len(piece))

    def takes(self) -> int:
        """Bytes of the body that may be read at a time: for the instance, or to be kept until there is one."""
        connection = self._connection
        if connection is None:
            return HELD - len(self._piece)
        if self._to_instance is None:
            self._to_instance = connection.ahead()
        return self._to_instance.size()

    def spoiled(self, problem: Problem) -> None:
        """The body is not what the client promised."""
        self._leave()
        self._fail(problem)

    def drained(self) -> None:
        self._client.go_on()

    def given(self, connection: Connection) -> bool:
        load = self._load
        assert load is not None
        try:
            self._send(connection, self._lane.clock())
            if load.standby:
                self.cold, self.deadline = True, self.deadline + self.terms.start_timeout
            self._go_on()
        except Exception as error:  # whoever gives it is another invocation
            self._fault(error)
        return True

    def denied(self, error: ConnectFailed) -> None:
        assert self._load is not None
        try:
            self._try_another(self._load, error)
        except Exception as fault:  # others are denied with it
            self._fault(fault)

    def _try_another(self, load: Load, error: ConnectFailed) -> None:
        """A retry keeps the version."""
        self.tried = {*self.tried, load}
        self._failed()
        if self._endpoints.exhausted(self.tried):
            self._fail(unreachable(self.name, error))
        else:
            self._lane.counting.own(Own.RETRIES)
            self._try(self._lane.clock())
            self._go_on()

    def _go_on(self) -> None:
        """After a wait, if it was sent: from here on the instance is waited for."""
        connection = self._connection
        if connection is not None and not connection.backed_up:
            self._client.go_on()

    def _try(self, now: float) -> None:
        """Sends it at once, if there is an endpoint and a connection to it."""
        load = self._endpoints.take(now, avoid=self.tried)
        if load is None:
            self._wait()
        else:
            self._use(load, now)

    def _use(self, load: Load, now: float) -> None:
        self._load = load
        connection = self._endpoints.reuse(load)
        if connection is not None:
            self._send(connection, now)
        else:
            self._endpoints.want(load, self)

    def _wait(self) -> None:
        self._task = asyncio.create_task(self._obtain(), name="obtain")
        self._task.add_done_callback(self._obtained)

    async def _obtain(self) -> None:
        """The row, and an endpoint."""
        try:
            if self._row is None:
                self._row = await self._lane.supply.row(self._route, self._destination.version)
                self._lane.counting.begin(self._row)
            self._endpoints = self._lane.routes.endpoints(self._route.function, self._destination.version)
            load = await self._lane.supply.endpoint(self, self._endpoints)
        except Problem as problem:
            self._task = None
            self._leave()
            self._fail(problem)
        else:
            self._task = None
            self._use(load, self._lane.clock())
            self._go_on()

    def _obtained(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._fault(error)

    def _fault(self, error: BaseException) -> None:
        log.error("an invocation failed by a fault of the router", exc_info=error)
        self._leave()
        self._count(Count.PLATFORM, self._lane.clock())
        self._client.cut()

    def _send(self, connection: Connection, now: float) -> None:
        self._connection = connection
        if self._received > self._destination.max_body:
            self.spoiled(self._too_large())
            return
        self._sent = now
        if not self._resent:  # a second try has what the first one left
            self.deadline = now + self._destination.timeout
        connection.begin(self, headless=self._line.headless, chunks=self._line.minor == 1)
        fields, start = self._fields, self._line.start
        if self._target.invoke:
            start = b"%b %b HTTP/1.1" % (self._line.method, of_invoke(self.terms.kind).encode())
        end = END if fields.upgrade is None else upgrade_lines(fields.upgrade) + END
        data = b"".join((start, fields.lines, self._destination.request_lines, self._id, end))
        connection.write(data if fields.bodiless else data + self._body(self._piece))
        if self._whole:
            connection.sent()
            return
        if fields.expect is not None and not self._piece:
            self._client.write(CONTINUE)
        self._streamed, self._piece = True, b""
        if connection.backed_up:
            self._client.hold()

    def _body(self, piece: bytes) -> bytes:
        if not self._fields.chunked:
            return piece
        return framed(piece) + LAST_CHUNK if self._whole else framed(piece)

    def _leave(self) -> None:
        """Ends what is under way."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        load = self._give_up()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if load is not None:
            self._endpoints.release(load)

    def _failed(self) -> None:
        load = self._give_up()
        if load is not None and self._endpoints.failed(load, self._lane.clock()):
            self._lane.counting.own(Own.EJECTIONS)

    def _give_up(self) -> Load | None:
        """The endpoint, which is to be handed back; nothing is waited for from it."""
        load, self._load = self._load, None
        if load is not None and self._connection is None:
            self._endpoints.leave(load, self)
        return load

    def _fail(self, problem: Problem) -> None:
        """Of ours, in the place of an answer; if that had begun, the client's connection must end with it."""
        raise NotImplementedError

    def _count(self, outcome: int, now: float) -> None:
        """Before the last byte of the answer goes out: who has it finds it counted, whatever dies then."""
        row, self._row = self._row, None
        if row is not None:
            seconds = now - self._began - self._waited
            slow = seconds > self._destination.latency_limit
            if self.cell != NO_CELL:
                self._lane.counting.user(row, self.cell, outcome, seconds=seconds)
            self._lane.counting.end(row, outcome, seconds=seconds, slow=slow, cold=self.cold)

    def _too_large(self) -> Problem:
        return too_large(self._destination.max_body, outcome=Count.CLIENT_ERROR)
