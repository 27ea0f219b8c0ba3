"""Connections to an instance are made within a limit that is the instance's, not the router's, and are shared."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from hotswap.settings import RouterLimits
from router.connecting import connected
from router.pool import MOST_DIALS, ConnectFailed, Kept, Pool
from router.upstream import Connection
from router.wire import Poll

LIMIT = 0.2
"""Seconds for a connection."""


@contextmanager
def listening(backlog: int = 16) -> Iterator[int]:
    """A port that the kernel takes connections on, and nobody else."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield server.getsockname()[1]


@contextmanager
def crowded() -> Iterator[int]:
    """One whose queue is full."""
    others = [socket.socket() for _ in range(8)]
    with listening(backlog=0) as port:
        for other in others:
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for other in others:
                other.close()


def pool(host: str, port: int) -> Pool:
    return Pool(f"{host}:{port}", Poll(), Kept(clock=time.monotonic, limits=RouterLimits(connect_timeout=LIMIT)))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_instance_is_reached_by_its_address_and_by_a_name(host: str) -> None:
    with listening() as port:
        connection = await pool(host, port).connect()
        connection.abort()


async def test_an_instance_with_several_addresses_is_reached_by_the_one_that_takes_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening() as away:
        pass
    with listening() as port:
        stream = (socket.AF_INET, socket.SOCK_STREAM, 0, "")

        async def found(*_: object, **__: object) -> list[object]:
            return [(*stream, ("127.0.0.1", one)) for one in (away, port)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
        connection = await pool("two.test", 1).connect()
        connection.abort()


async def test_a_loop_that_has_no_time_to_look_takes_no_instance_for_one_that_is_away() -> None:
    with listening() as port:
        connecting = asyncio.create_task(pool("127.0.0.1", port).connect())
        for _ in range(3):
            await asyncio.sleep(0)
        time.sleep(2 * LIMIT)  # noqa: ASYNC251 - thousands of other connections
        connection = await connecting
        connection.abort()


async def test_an_instance_that_takes_no_connection_is_not_waited_for_beyond_the_limit() -> None:
    with crowded() as port, pytest.raises(ConnectFailed, match=f"took no connection within {LIMIT:g} s"):
        await pool("127.0.0.1", port).connect()


async def test_an_instance_that_refuses_connections_is_told_so() -> None:
    with listening() as port:
        pass
    with pytest.raises(ConnectFailed, match="took no connection: "):
        await pool("127.0.0.1", port).connect()


async def test_no_more_connections_are_made_at_a_time_than_an_instance_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    under_way, most = 0, 0

    async def watched(host: str, port: int, *, limit: float) -> socket.socket:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await connected(host, port, limit=limit)
        finally:
            under_way -= 1

    monkeypatch.setattr("router.pool.connected", watched)
    with listening(backlog=64) as port:
        one = pool("127.0.0.1", port)
        for connection in await asyncio.gather(*(one.connect() for _ in range(3 * MOST_DIALS))):
            connection.abort()
    assert most == MOST_DIALS


async def test_who_waits_gets_what_another_gives_back_in_the_order_of_asking() -> None:
    with crowded() as port:
        one = pool("127.0.0.1", port)
        given = [Connection(one) for _ in range(3)]
        waiting = [asyncio.create_task(one.connect()) for _ in range(3)]
        await asyncio.sleep(0)
        for connection in given:
            one.put_back(connection)
        assert await asyncio.gather(*waiting) == given
    assert one.reuse() is None


async def test_what_is_given_to_somebody_who_has_just_left_goes_to_the_next() -> None:
    with crowded() as port:
        one = pool("127.0.0.1", port)
        leaving, staying = (asyncio.create_task(one.connect()) for _ in range(2))
        await asyncio.sleep(0)
        connection = Connection(one)
        one.put_back(connection)
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        assert await staying is connection


async def test_nobody_who_left_is_given_anything() -> None:
    with crowded() as port:
        one = pool("127.0.0.1", port)
        leaving = asyncio.create_task(one.connect())
        await asyncio.sleep(0)
        leaving.cancel()
        connection = Connection(one)
        one.put_back(connection)  # before it knows
        with suppress(asyncio.CancelledError):
            await leaving
        assert one.reuse() is connection


async def test_a_connection_that_cannot_be_made_disappoints_those_who_waited_as_long_as_that_took() -> None:
    with crowded() as port:
        one = pool("127.0.0.1", port)
        early = [asyncio.create_task(one.connect()) for _ in range(MOST_DIALS)]
        await asyncio.sleep(0)
        late = asyncio.create_task(one.connect())  # no connection is begun for it yet
        done, _ = await asyncio.wait([*early, late], return_when=asyncio.FIRST_EXCEPTION)
        assert late not in done
        with pytest.raises(ConnectFailed):
            await late
        assert all(isinstance(task.exception(), ConnectFailed) for task in early)


async def test_a_connection_is_kept_its_whole_time_however_long_its_pool_had_none() -> None:
    now = 0.0
    kept = Kept(clock=lambda: now, limits=RouterLimits(instance_keep_alive=4.0))
    one = Pool("127.0.0.1:1", Poll(), kept)
    connection = Connection(one)
    for now in (1.0, 1_000.0):
        kept.sweep()
        one.put_back(connection)
        now += 3.9
        kept.sweep()
        assert one.reuse() is connection
    one.put_back(connection)
    now += 9.0
    kept.sweep()
    assert one.reuse() is None


async def test_a_fault_in_making_a_connection_is_logged_and_denies_those_who_waited(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def faulty(host: str, port: int, *, limit: float) -> socket.socket:
        raise ValueError("for the test")

    monkeypatch.setattr("router.pool.connected", faulty)
    one = pool("127.0.0.1", 1)
    told = await asyncio.gather(*(one.connect() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(error, ConnectFailed) for error in told)
    assert "by a fault of the router" in caplog.text
