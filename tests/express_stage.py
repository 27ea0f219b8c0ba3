"""An express lane by itself, over wires that record, with a clock that the test turns."""

import random

from hotswap.metrics import Tally
from hotswap.settings import RouterLimits
from router.balance import Load, RetryBudget
from router.codec.responses import Head
from router.counters import CounterFile, Counting
from router.express import Express, ExpressConnection
from router.forwarding import Trust
from router.lane import Lane
from router.pool import Pool
from router.routes import Routes
from router.rows import Owner, Row
from router.supply import Supply
from router.upstream import Broken, Connection, Receiver
from router.wheel import TICK, Wheel
from router.wire import Poll, Wire
from tests.router_entries import alias, endpoint, update, version

GET = b"GET /fn/fn/x HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /fn/fn/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
STREAM = b"POST /fn/fn/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ROW = 1
LIMITS = RouterLimits(
    head_timeout=7.0, body_timeout=40.0, write_timeout=17.0, keep_alive=41.0, linger=5.0, instance_keep_alive=11.0
)
"""None of them as it is if nothing is said."""


class Recording(Wire):
    """What is asked of a wire."""

    def __init__(self) -> None:  # there is no socket
        self.peer = "10.0.0.1"
        self.written = b""
        self.reading = True
        self.ended = ""

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.written += data

    def write_parts(self, parts: tuple[bytes, bytes, bytes]) -> None:
        self.write(b"".join(parts))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write_eof(self) -> None:
        self.ended = "half"

    def close(self) -> None:
        self.closing = True
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.closing = True
        self.ended = "aborted"

    def space(self) -> int:
        return 0


class Stage:
    """One function with one version and one endpoint, to which connections are kept that record."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.file = CounterFile.create("express", capacity=4)
        counting, rng = Counting(self.file), random.Random(1)
        self.routes = Routes(Poll(), workers=1, rng=rng, clock=self._clock, limits=LIMITS, on_error=lambda: None)
        entries = (alias({1: 100}), version(1), endpoint("i", concurrency=8))
        self.routes.apply(update(*entries), [Row(Owner("fn", "production", 1, 1), ROW)])
        supply = Supply(counting, self._no_row, clock=self._clock)
        self.wheel = Wheel(self.now)
        lane = Lane(self.routes, counting, supply, RetryBudget(), self.wheel, self._clock, rng, Trust(), LIMITS)
        self.express = Express(lane)
        endpoints = self.routes.endpoints("fn", 1)
        (self.pool,) = map(endpoints.pool, endpoints._known.values())

    def connected(self) -> tuple[ExpressConnection, Recording]:
        client, wire = self.express(), Recording()
        client.connection_made(wire)
        return client, wire

    def kept(self) -> tuple[Connection, Recording]:
        """A connection that has served and waits in the pool."""
        return kept_in(self.pool)

    def load(self) -> Load:
        """Of the endpoint."""
        (load,) = self.routes.endpoints("fn", 1)._known.values()
        return load

    def later(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += TICK / 2
            self.wheel.turn(self.now)

    def tally(self) -> Tally:
        return Tally(counts=self.file.read(ROW))

    def _clock(self) -> float:
        return self.now

    async def _no_row(self, function: str, version: int) -> int:
        raise AssertionError("every version here has a row")


class Nobody(Receiver):
    """Takes an answer that nobody looks at."""

    def interim(self, head: Head) -> None: ...

    def head(self, head: Head, piece: bytes, *, ended: bool) -> None: ...

    def body(self, piece: bytes, *, ended: bool) -> None: ...

    def broken(self, error: Broken) -> None: ...

    def drained(self) -> None: ...

    def wanted(self) -> int:
        return 0


def kept_in(pool: Pool) -> tuple[Connection, Recording]:
    connection, wire = Connection(pool), Recording()
    connection.connection_made(wire)
    connection.begin(Nobody(), headless=False, chunks=False)
    connection.sent()
    connection.data_received(ANSWER)
    return connection, wire
