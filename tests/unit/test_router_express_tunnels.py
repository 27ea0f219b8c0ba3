"""Tunnels of the express lane: what limits them, what slows them, and how they end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hotswap.metrics import Count
from router.table import DEFAULT_TIMEOUT
from tests.express_stage import ANSWER, GET, LIMITS, ROW, Stage

UPGRADE = b"GET /fn/fn/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CHANGED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.file.close()


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
