"""An upgrade to another protocol, which becomes a tunnel."""

import asyncio
from datetime import timedelta

import pytest

from hotswap.metrics import Count
from tests.conditions import eventually
from tests.router_harness import (
    RouterUnderTest,
    answering,
    read_request,
    saying,
    upstream,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_tunnel_carries_bytes_both_ways_and_each_way_ends_by_itself(router: RouterUnderTest, fn: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        assert (request.fields["connection"], request.fields["upgrade"]) == ("Upgrade", "websocket")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello ")
        writer.write(await reader.read(-1))
        writer.write_eof()
        await writer.drain()

    async with upstream(talk) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100}, timeout=timedelta(seconds=5))
        reader, writer = await asyncio.open_connection(*router.host_port)
        head = f"GET /fn/{fn} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        writer.write(head.encode() + b"sent with the head, ")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        assert await reader.read(-1) == b"hello sent with the head, " + b"x" * 1_000_000
        writer.close()
        await eventually(lambda: server.open == 0)
        assert (await router.tally(fn))[Count.OK] == 1


async def test_an_upgrade_that_is_declined_is_an_ordinary_answer(router: RouterUnderTest, fn: str) -> None:
    async with upstream(answering(b"no")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert (await router.get(f"/fn/{fn}", headers=upgrade)).body == b"no"


async def test_a_protocol_changed_unasked_is_a_broken_answer(router: RouterUnderTest, fn: str) -> None:
    async with upstream(saying(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")) as server:
        await router.publish(fn, {1: [server.address]}, weights={1: 100})
        assert (await router.get(f"/fn/{fn}")).status == 502
