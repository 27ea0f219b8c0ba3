"""The express lane by itself, over wires that record: its limits of time by a clock that the test turns."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hotswap.metrics import Count, Tally
from hotswap.settings import RouterLimits
from router.balance import Load, RetryBudget
from router.codec.responses import Head
from router.counters import CounterFile, Counting, Own
from router.express import Express, ExpressConnection
from router.forwarding import Trust
from router.lane import Lane
from router.pool import Pool
from router.routes import Routes
from router.rows import Owner, Row
from router.supply import Supply
from router.table import DEFAULT_TIMEOUT
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


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.file.close()


async def test_a_request_is_one_write_each_way(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(GET)
    assert to_upstream.written.startswith(b"GET /x HTTP/1.1\r\nHost: h\r\n")
    upstream.data_received(ANSWER)
    assert to_client.written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert to_client.written.endswith(b"\r\n\r\nok")
    assert stage.tally()[Count.OK] == 1


async def test_requests_and_answers_byte_by_byte(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    for _ in range(3):
        for at in range(len(POST)):
            client.data_received(POST[at : at + 1])
        for byte in (b"b", b"o", b"d", b"y"):
            client.data_received(byte)
        assert to_upstream.written.endswith(b"\r\n\r\nbody")
        for at in range(len(ANSWER)):
            upstream.data_received(ANSWER[at : at + 1])
        assert to_client.written.endswith(b"\r\n\r\nok")
    assert stage.tally()[Count.OK] == 3


async def test_what_is_sent_ahead_is_answered_in_its_order(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(GET + POST + b"body" + b"GET /fn/none HTTP/1.1\r\nHost: h\r\n\r\n" + GET[:9])
    assert to_upstream.written.count(b"HTTP/1.1\r\n") == 1, "one at a time"
    upstream.data_received(ANSWER)
    await asyncio.sleep(0)
    assert to_upstream.written.endswith(b"\r\n\r\nbody")
    upstream.data_received(ANSWER)
    await asyncio.sleep(0)
    client.data_received(GET[9:])
    upstream.data_received(ANSWER)
    statuses = [part.split(b" ")[0] for part in to_client.written.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"404", b"200"]


async def test_many_refusals_sent_ahead_do_not_nest(stage: Stage) -> None:
    client, to_client = stage.connected()
    client.data_received(b"GET /fn/none HTTP/1.1\r\nHost: h\r\n\r\n" * 1_500)
    for _ in range(1_500):
        await asyncio.sleep(0)
    assert to_client.written.count(b"HTTP/1.1 404 ") == 1_500


async def test_a_head_that_does_not_get_on_ends_the_connection(stage: Stage) -> None:
    client, wire = stage.connected()
    client.data_received(GET[:5])
    stage.later(LIMITS.head_timeout / 2)
    client.data_received(GET[5:7])
    stage.later(LIMITS.head_timeout / 2 - 3 * TICK)
    assert wire.ended == ""
    stage.later(6 * TICK)
    assert wire.ended == "aborted"


async def test_an_idle_connection_ends(stage: Stage) -> None:
    (client, wire), (upstream, _) = stage.connected(), stage.kept()
    stage.later(LIMITS.keep_alive - 1)
    client.data_received(GET)
    upstream.data_received(ANSWER)
    stage.later(LIMITS.keep_alive - 1)
    assert wire.ended == ""
    stage.later(2)
    assert wire.ended == "aborted"


async def test_a_connection_to_an_instance_is_kept_for_so_long(stage: Stage) -> None:
    stage.routes.sweep()
    _, to_upstream = stage.kept()
    stage.later(LIMITS.instance_keep_alive - 1)
    stage.routes.sweep()
    assert to_upstream.ended == ""
    stage.later(2)
    stage.routes.sweep()
    assert to_upstream.ended == "closed"


async def test_a_function_past_its_limit_is_answered_for(stage: Stage) -> None:
    (client, to_client), (_, to_upstream) = stage.connected(), stage.kept()
    client.data_received(GET)
    stage.later(DEFAULT_TIMEOUT - 1)
    assert to_client.written == b""
    stage.later(2)
    assert to_client.written.startswith(b"HTTP/1.1 504 ")
    assert to_upstream.ended == "aborted"
    assert stage.tally()[Count.TIMEOUT] == 1


async def test_an_answer_past_the_limit_is_cut(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(GET)
    upstream.data_received(ANSWER[:-1])
    stage.later(DEFAULT_TIMEOUT + 1)
    assert (to_client.ended, to_upstream.ended) == ("aborted", "aborted")
    assert stage.tally()[Count.TIMEOUT] == 1


async def test_a_slow_sender_is_not_a_slow_function(stage: Stage) -> None:
    (client, to_client), (upstream, _) = stage.connected(), stage.kept()
    client.data_received(POST)
    for byte in (b"b", b"o", b"d"):
        stage.later(DEFAULT_TIMEOUT - 1)
        client.data_received(byte)
    client.data_received(b"y")
    stage.later(DEFAULT_TIMEOUT - 1)
    upstream.data_received(ANSWER)
    assert to_client.written.startswith(b"HTTP/1.1 200 ")
    seconds = stage.tally()[Count.MICROSECONDS] / 1_000_000
    assert seconds == pytest.approx(DEFAULT_TIMEOUT - 1, abs=1)


async def test_a_body_that_does_not_go_on_is_given_up(stage: Stage) -> None:
    (client, to_client), (_, to_upstream) = stage.connected(), stage.kept()
    client.data_received(STREAM + b"4\r\nbo")
    stage.later(LIMITS.body_timeout + 1)
    assert to_client.written.startswith(b"HTTP/1.1 408 ")
    assert to_upstream.ended == "aborted"
    assert stage.tally()[Count.CLIENT_ERROR] == 1
    assert to_client.ended == "half"
    stage.later(LIMITS.linger + 1)
    assert to_client.ended == "aborted"


async def test_a_small_body_that_does_not_go_on_takes_no_instance_from_others(stage: Stage) -> None:
    (client, to_client), (_, to_upstream) = stage.connected(), stage.kept()
    client.data_received(POST + b"bo")
    stage.later(LIMITS.body_timeout + 1)
    assert to_client.written.startswith(b"HTTP/1.1 408 ")
    assert (to_upstream.written, to_upstream.ended) == (b"", "")
    assert stage.tally()[Count.CLIENT_ERROR] == 1
    assert stage.file.in_flight(ROW) == 0


async def test_a_client_that_reads_nothing_is_given_up_and_slows_the_function_until_then(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(GET)
    upstream.data_received(ANSWER[:-1])
    client.pause_writing()
    held = to_upstream.reading
    stage.later(LIMITS.write_timeout - 1)
    client.resume_writing()
    assert (held, to_upstream.reading) == (False, True)
    stage.later(DEFAULT_TIMEOUT - 1)
    assert to_client.ended == "", "the limit did not run meanwhile"
    client.pause_writing()
    stage.later(LIMITS.write_timeout + 1)
    assert to_client.ended == "aborted"
    client.connection_lost(None)
    assert stage.tally()[Count.CLIENT_ERROR] == 1


async def test_what_is_sent_ahead_of_a_client_that_reads_nothing_waits_and_is_bounded(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(GET)
    client.pause_writing()
    upstream.data_received(ANSWER)
    ahead = 65_536 // len(GET) + 1
    client.data_received(GET * ahead)
    assert to_upstream.written.count(b"GET ") == 1
    held = to_client.reading
    client.resume_writing()
    assert (held, to_client.reading) == (False, True)
    for _ in range(ahead):
        upstream.data_received(ANSWER)
        await asyncio.sleep(0)
    assert to_client.written.count(b"HTTP/1.1 200 ") == 1 + ahead


async def test_a_function_that_reads_nothing_slows_the_sender(stage: Stage) -> None:
    (client, to_client), (upstream, _) = stage.connected(), stage.kept()
    client.data_received(STREAM + b"1\r\nb\r\n")
    upstream.pause_writing()
    client.data_received(b"1\r\no\r\n")
    held = to_client.reading
    upstream.resume_writing()
    assert (held, to_client.reading) == (False, True)


async def test_a_client_that_goes_away_ends_the_request_of_the_function(stage: Stage) -> None:
    (client, _), (_, to_upstream) = stage.connected(), stage.kept()
    client.data_received(GET)
    client.connection_lost(None)
    assert to_upstream.ended == "aborted"
    assert stage.tally()[Count.CLIENT_ERROR] == 1
    assert stage.file.in_flight(ROW) == 0
    assert len(stage.wheel) == 0


@pytest.mark.parametrize("body", [b"zz", b"3 \r\nabc\r\n", b"3\r\nabcd\r\n", b"3\nabc\r\n"])
async def test_chunks_that_are_none_end_the_connection(stage: Stage, body: bytes) -> None:
    (client, to_client), (_, to_upstream) = stage.connected(), stage.kept()
    client.data_received(b"POST /fn/fn HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    client.data_received(body)
    assert to_client.written.startswith(b"HTTP/1.1 400 ")
    assert (to_client.ended, to_upstream.ended) == ("half", "aborted")
    assert stage.tally()[Count.CLIENT_ERROR] == 1


async def test_what_is_not_http_is_counted_and_no_more_is_read(stage: Stage) -> None:
    client, to_client = stage.connected()
    client.data_received(b"GET / HTTP/1.1\nHost: h\n\n")
    client.data_received(GET)
    assert to_client.written.count(b"HTTP/1.1 400 ") == to_client.written.count(b"Via:") == 1
    assert stage.file.own(Own.MALFORMED) == 1


async def test_empty_lines_before_a_request_are_let_pass(stage: Stage) -> None:
    (client, to_client), (upstream, _) = stage.connected(), stage.kept()
    for data in (b"\r", b"\n\r\n", b"\r\n" + GET):
        client.data_received(data)
    upstream.data_received(ANSWER)
    assert to_client.written.startswith(b"HTTP/1.1 200 ")


async def test_http_1_0_gets_neither_chunks_nor_interim_answers(stage: Stage) -> None:
    (client, to_client), (upstream, _) = stage.connected(), stage.kept()
    client.data_received(b"GET /fn/fn HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    upstream.data_received(
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    )
    upstream.data_received(b"0\r\n\r\n")
    head, _, body = to_client.written.partition(b"\r\n\r\n")
    assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"ok")
    assert b"Connection: close" in head
    assert to_client.ended == "closed"


async def test_who_finds_no_connection_goes_on_over_the_one_that_another_gives_back(stage: Stage) -> None:
    (first, to_first), (second, to_second) = stage.connected(), stage.connected()
    upstream, to_upstream = stage.kept()
    first.data_received(GET)
    second.data_received(POST + b"body")
    assert to_upstream.written.startswith(b"GET ")
    assert b"POST" not in to_upstream.written
    upstream.data_received(ANSWER)
    assert to_first.written.endswith(b"\r\n\r\nok")
    assert to_upstream.written.endswith(b"\r\n\r\nbody")
    upstream.data_received(ANSWER)
    assert to_second.written.endswith(b"\r\n\r\nok")
    assert stage.tally()[Count.OK] == 2


async def test_who_had_to_wait_for_a_connection_has_the_whole_limit_from_then_on(stage: Stage) -> None:
    (first, _), (second, to_second) = stage.connected(), stage.connected()
    upstream, _ = stage.kept()
    first.data_received(GET)
    second.data_received(GET)
    stage.later(DEFAULT_TIMEOUT - 1)
    upstream.data_received(ANSWER)
    stage.later(DEFAULT_TIMEOUT - 1)
    assert to_second.written == b""
    stage.later(2)
    assert to_second.written.startswith(b"HTTP/1.1 504 ")


async def test_who_leaves_while_waiting_for_a_connection_is_given_none(stage: Stage) -> None:
    (first, _), (second, _), (third, to_third) = stage.connected(), stage.connected(), stage.connected()
    upstream, to_upstream = stage.kept()
    for client in (first, second, third):
        client.data_received(GET)
    second.connection_lost(None)
    upstream.data_received(ANSWER)
    upstream.data_received(ANSWER)
    assert to_third.written.endswith(b"\r\n\r\nok")
    assert to_upstream.written.count(b"GET ") == 2
    assert stage.pool.reuse() is upstream
    assert stage.file.in_flight(ROW) == 0


UPGRADE = b"GET /fn/fn/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CHANGED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def test_a_tunnel_passes_on_what_was_sent_ahead_of_it_and_all_after_it(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(UPGRADE + b"ahead ")
    assert to_upstream.written.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    upstream.data_received(CHANGED + b"hello ")
    client.data_received(b"then")
    upstream.data_received(b"again")
    assert to_upstream.written.endswith(b"\r\n\r\nahead then")
    assert to_client.written.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert to_client.written.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello again")
    assert stage.tally()[Count.OK] == 1


async def test_a_tunnel_may_be_silent_for_as_long_as_it_likes(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(UPGRADE)
    upstream.data_received(CHANGED)
    stage.later(10 * max(LIMITS.body_timeout, LIMITS.keep_alive, DEFAULT_TIMEOUT))
    client.data_received(b"still")
    stage.later(2 * LIMITS.body_timeout)
    upstream.data_received(b"there")
    assert to_upstream.written.endswith(b"still")
    assert to_client.written.endswith(b"there")
    assert (to_client.ended, to_upstream.ended) == ("", "")


@pytest.mark.parametrize("first", ["client", "instance"])
async def test_each_side_of_a_tunnel_ends_by_itself_and_both_end_it(stage: Stage, first: str) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(UPGRADE)
    upstream.data_received(CHANGED)
    sides = [(client, to_upstream), (upstream, to_client)]
    if first == "instance":
        sides.reverse()
    (one, to_other), (other, to_one) = sides
    assert one.eof_received()
    assert (to_other.ended, to_one.ended) == ("half", "")
    other.data_received(b"still heard")
    assert to_one.written.endswith(b"still heard")
    assert other.eof_received()
    assert to_client.closing
    assert to_upstream.closing
    assert stage.file.in_flight(ROW) == 0
    assert stage.load().in_flight == 0


async def test_a_tunnel_whose_instance_breaks_off_is_cut_and_not_counted_again(stage: Stage) -> None:
    (client, to_client), (upstream, _) = stage.connected(), stage.kept()
    client.data_received(UPGRADE)
    upstream.data_received(CHANGED)
    upstream.connection_lost(ConnectionResetError())
    assert to_client.ended == "aborted"
    assert (stage.tally()[Count.OK], stage.tally()[Count.DIED]) == (1, 0)
    assert (stage.load().in_flight, stage.load().failures) == (0, 0)


async def test_a_tunnel_whose_client_is_gone_ends(stage: Stage) -> None:
    (client, _), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(UPGRADE)
    upstream.data_received(CHANGED)
    client.connection_lost(ConnectionResetError())
    assert to_upstream.ended == "aborted"
    assert stage.load().in_flight == 0
    assert stage.tally()[Count.CLIENT_ERROR] == 0


async def test_each_side_of_a_tunnel_is_slowed_by_the_other(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(UPGRADE)
    upstream.data_received(CHANGED)
    client.pause_writing()
    held = to_upstream.reading
    client.resume_writing()
    assert (held, to_upstream.reading) == (False, True)
    upstream.pause_writing()
    client.data_received(b"x")
    held = to_client.reading
    upstream.resume_writing()
    assert (held, to_client.reading) == (False, True)


async def test_an_upgrade_that_is_declined_leaves_the_connection_as_it_was(stage: Stage) -> None:
    (client, to_client), (upstream, to_upstream) = stage.connected(), stage.kept()
    client.data_received(UPGRADE + GET)
    upstream.data_received(ANSWER)
    await asyncio.sleep(0)
    assert to_upstream.written.count(b"GET ") == 2
    upstream.data_received(ANSWER)
    assert to_client.written.count(b"HTTP/1.1 200 ") == 2
