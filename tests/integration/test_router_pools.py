"""Connections to an instance are made within a limit that is the instance's, not the router's."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hotswap.settings import RouterLimits
from router.upstream import ConnectFailed, Pool
from router.wire import Poll

LIMIT = 0.2
"""Seconds for a connection."""


@contextmanager
def listening(backlog: int = 16) -> Iterator[int]:
    """A port that the kernel takes connections on, and nobody else."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield server.getsockname()[1]


def pool(host: str, port: int) -> Pool:
    return Pool(f"{host}:{port}", Poll(), clock=time.monotonic, limits=RouterLimits(connect_timeout=LIMIT))


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
    with listening(backlog=0) as port:
        others = [socket.socket() for _ in range(8)]
        for other in others:  # which fill its queue
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", port))
        try:
            with pytest.raises(ConnectFailed, match=f"took no connection within {LIMIT:g} s"):
                await pool("127.0.0.1", port).connect()
        finally:
            for other in others:
                other.close()


async def test_an_instance_that_refuses_connections_is_told_so() -> None:
    with listening() as port:
        pass
    with pytest.raises(ConnectFailed, match="took no connection: "):
        await pool("127.0.0.1", port).connect()
