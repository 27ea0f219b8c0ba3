"""The express lane by itself, over wires that record: its limits of time by a clock that the test turns."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hotswap.metrics import Count
from router.counters import Own
from router.table import DEFAULT_TIMEOUT
from router.wheel import TICK
from tests.express_stage import ANSWER, GET, LIMITS, POST, ROW, STREAM, Stage


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
