"""What many ask of one router within a moment is one request, and each has its own answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from hotswap.admin import admin_ports
from hotswap.errors import Unavailable
from hotswap.metrics import CounterRow, Counters, Tally
from hotswap.model import Router, encode
from hotswap.questions import GATHER_MOST
from tests.conditions import eventually


class Port:
    """The admin port of a router that has one row of each function, but for those that it has never seen."""

    def __init__(self, *, unseen: frozenset[str] = frozenset(), status: int = 200) -> None:
        self.requests: list[list[str]] = []
        self.held = asyncio.Event()
        """Answers wait for it."""
        self.held.set()
        self._unseen = unseen
        self._status = status

    async def counters(self, request: web.Request) -> web.Response:
        functions = request.query.getall("function")
        self.requests.append(functions)
        await self.held.wait()
        rows = [
            CounterRow(function=name, alias="production", version=1, alias_revision=1, tally=Tally.zero())
            for name in functions
            if name not in self._unseen
        ]
        return web.Response(status=self._status, body=encode(Counters(router="r1", boot="1", rows=rows)))


@asynccontextmanager
async def listening(port: Port) -> AsyncIterator[Router]:
    app = web.Application()
    app.router.add_get("/counters", port.counters)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Router(name="r1", address="", admin=f"127.0.0.1:{runner.addresses[0][1]}", boot="1")
    finally:
        await runner.cleanup()


async def test_what_is_asked_within_a_moment_is_one_request() -> None:
    port = Port(unseen=frozenset({"c"}))
    async with listening(port) as router, admin_ports() as admin:
        answers = await asyncio.gather(*(admin.counters(router, name) for name in "abca"))
    assert port.requests == [["a", "b", "c"]]
    assert [[row.function for row in it.rows] for it in answers] == [["a"], ["b"], [], ["a"]]


async def test_who_asks_after_a_request_was_sent_is_not_answered_by_it() -> None:
    port = Port()
    port.held.clear()
    async with listening(port) as router, admin_ports() as admin:
        first = asyncio.create_task(admin.counters(router, "a"))
        await eventually(lambda: port.requests)
        second = asyncio.create_task(admin.counters(router, "a"))
        await eventually(lambda: len(port.requests) == 2)
        port.held.set()
        await asyncio.gather(first, second)
    assert port.requests == [["a"], ["a"]]


async def test_a_request_has_so_many_functions_at_most() -> None:
    port, names = Port(), [f"f{number}" for number in range(2 * GATHER_MOST + 1)]
    async with listening(port) as router, admin_ports() as admin:
        answers = await asyncio.gather(*(admin.counters(router, name) for name in names))
    assert sorted(map(len, port.requests)) == [1, GATHER_MOST, GATHER_MOST]
    assert [it.rows[0].function for it in answers] == names


async def test_one_that_waits_no_more_ends_it_for_nobody_else() -> None:
    port = Port()
    async with listening(port) as router, admin_ports() as admin:
        first, second = (asyncio.create_task(admin.counters(router, name)) for name in "ab")
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).rows[0].function == "b"


async def test_a_router_that_does_not_tell_is_unavailable_to_all_who_asked() -> None:
    async with listening(Port(status=500)) as router, admin_ports() as admin:
        answers = await asyncio.gather(*(admin.counters(router, name) for name in "ab"), return_exceptions=True)
        assert all(isinstance(it, Unavailable) for it in answers)
        with pytest.raises(Unavailable, match='router "r1"'):
            await admin.counters(router, "a")


async def test_questions_that_are_open_at_the_end_are_cancelled() -> None:
    port = Port()
    port.held.clear()
    async with listening(port) as router:
        async with admin_ports() as admin:
            asked = asyncio.create_task(admin.counters(router, "a"))
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await asked
        port.held.set()
