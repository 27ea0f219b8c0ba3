"""Endpoints behind which no process stands yet: when they are woken, and what is done while they are."""

import asyncio
from datetime import timedelta

import pytest

from hotswap.metrics import Count
from tests.conditions import eventually
from tests.router_harness import (
    RouterUnderTest,
    Upstream,
    answering,
    read_request,
    refusing_address,
    response,
    upstream,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def publish(router: RouterUnderTest, fn: str, *awake: Upstream, standby: str, **manifest: timedelta) -> None:
    await router.publish(fn, {1: [it.address for it in awake]}, weights={1: 100}, concurrency=1, **manifest)
    await router.add_endpoint(fn, 1, "standby", standby, concurrency=1, standby=True)


async def test_it_is_used_only_when_the_others_have_no_room(router: RouterUnderTest, fn: str) -> None:
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            await go_on.wait()
            writer.write(response(b"awake"))

    async with upstream(talk) as awake, upstream(answering(b"woken")) as standby:
        await publish(router, fn, awake, standby=standby.address)
        busy = asyncio.create_task(router.get(f"/fn/{fn}"))
        await eventually(lambda: awake.requests)
        assert (await router.get(f"/fn/{fn}")).body == b"woken"
        go_on.set()
        assert (await busy).body == b"awake"
        assert (await router.tally(fn))[Count.COLD] == 1


async def test_its_start_does_not_use_up_the_time_for_the_answer(router: RouterUnderTest, fn: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.6)
        writer.write(response(b"woken"))
        await read_request(reader)
        await reader.read()

    limits = {"timeout": timedelta(seconds=0.3), "start_timeout": timedelta(seconds=20)}
    async with upstream(talk) as standby:
        await publish(router, fn, standby=standby.address, **limits)
        assert (await router.get(f"/fn/{fn}")).body == b"woken"
        assert (await router.get(f"/fn/{fn}")).status == 504, "by now it is awake"
        tally = await router.tally(fn)
        assert (tally[Count.COLD], tally[Count.TIMEOUT]) == (1, 1)


async def test_where_nobody_listens_any_more_the_invocation_waits_for_another(router: RouterUnderTest, fn: str) -> None:
    await publish(router, fn, standby=await refusing_address())
    waiting = asyncio.create_task(router.get(f"/fn/{fn}"))
    async with asyncio.timeout(20):
        while await router.in_flight(fn) < 1:  # noqa: ASYNC110 - the router tells when it is asked
            await asyncio.sleep(0.02)
    async with upstream(answering(b"the next agent's")) as other:
        await router.add_endpoint(fn, 1, "other", other.address, standby=True)
        assert (await waiting).body == b"the next agent's"


async def test_with_no_other_it_is_told_to_come_back(router: RouterUnderTest, fn: str) -> None:
    await publish(router, fn, standby=await refusing_address(), start_timeout=timedelta(seconds=0.3))
    answer = await router.get(f"/fn/{fn}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_one_that_breaks_on_waking_is_an_error_of_the_version(router: RouterUnderTest, fn: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with upstream(talk) as standby:
        await publish(router, fn, standby=standby.address)
        assert (await router.get(f"/fn/{fn}")).status == 502
        tally = await router.tally(fn)
        assert (tally[Count.DIED], tally[Count.COLD]) == (1, 1)
