"""The connections of this worker to one endpoint: kept, made, and waited for.

Who needs one while none is kept gets the first that there is: a new one, or one that another invocation gives back. Who
asked first is served first. So of a thousand invocations that come at once to a quick instance most share what few
connections are made by then, and its kernel is not asked for more at a time than it has room for: what it drops is
asked for anew only after a second.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from mypy_extensions import trait

from hotswap.settings import RouterLimits
from router.connecting import connected
from router.upstream import Connection, Home, State
from router.wire import Poll, Wire

log = logging.getLogger(__name__)

MOST_IDLE: Final = 2_048
"""Connections that are kept."""
MOST_DIALS: Final = 16
"""Connections that are made at a time: a few workers together fit the shortest queue in common use, of 100."""

CLOSED: Final = State.CLOSED
IDLE: Final = State.IDLE


class ConnectFailed(Exception):
    """No connection could be made: nothing was sent."""


@trait
class Caller:
    """Who wants a connection. A class and no protocol, for the same reason as `router.wire.End`."""

    def given(self, connection: Connection) -> bool:
        """To be used at once, or closed; whether it is still wanted."""
        raise NotImplementedError

    def denied(self, error: ConnectFailed) -> None:
        raise NotImplementedError


class Awaiting(Caller):
    """A caller that is a task."""

    def __init__(self) -> None:
        self.connection: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    def given(self, connection: Connection) -> bool:
        if self.connection.done():  # it was cancelled in this turn
            return False
        self.connection.set_result(connection)
        return True

    def denied(self, error: ConnectFailed) -> None:
        if not self.connection.done():
            self.connection.set_exception(error)


class Kept:
    """The pools of a worker that keep connections. Of a hundred thousand endpoints these are few, and only they are
    looked at."""

    def __init__(self, *, clock: Callable[[], float], limits: RouterLimits) -> None:
        self.limits = limits
        self.looked = clock()
        self._clock = clock
        self._pools: set[Pool] = set()

    def add(self, pool: "Pool") -> None:
        self._pools.add(pool)

    def sweep(self) -> None:
        """Closes what was idle for too long. To be called about every second: idle times are as exact as that, and none
        is taken for shorter than it is."""
        self.looked = self._clock()
        oldest = self.looked - self.limits.instance_keep_alive
        self._pools = {pool for pool in self._pools if pool.keeps(oldest)}


class Pool(Home):
    __slots__ = ("_asked", "_closed", "_dials", "_host", "_idle", "_kept", "_poll", "_port", "_waiting")

    def __init__(self, address: str, poll: Poll, kept: Kept) -> None:
        self.address = address
        self._poll = poll
        self._kept = kept
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._idle: list[tuple[Connection, float]] = []
        """With the last look at what is kept before it was put back; the one used last is used next."""
        self._waiting: OrderedDict[Caller, int] = OrderedDict()
        """Who wants one, in that order, by number."""
        self._asked = 0
        """The number of the last of them."""
        self._dials: dict[asyncio.Task[Connection], int] = {}
        """Connections that are being made, each with the last number when that began."""
        self._closed = False

    def reuse(self) -> Connection | None:
        """One that was kept, if there is one."""
        while self._idle:
            connection, _ = self._idle.pop()
            if connection.state is IDLE:
                return connection
        return None

    def want(self, caller: Caller) -> None:
        """The first that there is; it is denied when one could not be made that was begun since."""
        self._asked += 1
        self._waiting[caller] = self._asked
        self._dial()

    def leave(self, caller: Caller) -> None:
        """It wants none any more."""
        self._waiting.pop(caller, None)

    async def connect(self) -> Connection:
        """One that was kept, or else the first that there is. Raises `ConnectFailed`."""
        while (connection := self.reuse() or await self._next()).state is CLOSED:
            pass  # it ended before the task had its turn
        return connection

    def put_back(self, connection: Connection) -> None:
        if connection.state is CLOSED:
            return
        while self._waiting:
            caller, _ = self._waiting.popitem(last=False)
            if caller.given(connection):
                return
        if self._closed or len(self._idle) >= MOST_IDLE:
            connection.close()
        else:
            connection.state = IDLE
            if not self._idle:
                self._kept.add(self)
            self._idle.append((connection, self._kept.looked))

    def discard(self, connection: Connection) -> None:
        if self._idle:
            self._idle = [entry for entry in self._idle if entry[0] is not connection]

    def keeps(self, oldest: float) -> bool:
        """Whether any of its connections was put back since then; the others are closed."""
        late = [connection for connection, since in self._idle if since < oldest]
        self._idle = [entry for entry in self._idle if entry[1] >= oldest]
        for connection in late:
            connection.close()
        return bool(self._idle)

    def close(self) -> None:
        """The endpoint left: idle connections are closed now, each busy one when its request is done."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    async def _next(self) -> Connection:
        caller = Awaiting()
        self.want(caller)
        try:
            return await caller.connection
        except asyncio.CancelledError:
            self.leave(caller)
            if not caller.connection.cancelled() and caller.connection.exception() is None:  # both in one turn
                self.put_back(caller.connection.result())
            raise

    def _dial(self) -> None:
        while len(self._dials) < min(MOST_DIALS, len(self._waiting)):
            dial = asyncio.create_task(self._made(), name="connect to an endpoint")
            self._dials[dial] = self._asked
            dial.add_done_callback(self._dialled)

    async def _made(self) -> Connection:
        limit = self._kept.limits.connect_timeout
        try:
            connection = Connection(self)
            Wire(self._poll, await connected(self._host, self._port, limit=limit), connection)
        except TimeoutError:
            raise ConnectFailed(f"{self.address} took no connection within {limit:g} s") from None
        except OSError as error:
            raise ConnectFailed(f"{self.address} took no connection: {error.strerror or error}") from None
        return connection

    def _dialled(self, dial: asyncio.Task[Connection]) -> None:
        last = self._dials.pop(dial)
        if dial.cancelled():  # the worker ends
            return
        error = dial.exception()
        if error is None:
            self.put_back(dial.result())
        else:
            if not isinstance(error, ConnectFailed):
                log.error("no connection could be made by a fault of the router", exc_info=error)
            self._deny(last, str(error))
        self._dial()

    def _deny(self, last: int, why: str) -> None:
        """All who have waited as long as that took: each has another endpoint to try, or an answer to give."""
        late = [caller for caller, number in self._waiting.items() if number <= last]
        for caller in late:
            del self._waiting[caller]
        for caller in late:
            caller.denied(ConnectFailed(why))
