import asyncio

import pytest

from router.limit import Limit


async def test_it_ends_what_takes_too_long() -> None:
    limit = Limit(0.01)
    with pytest.raises(TimeoutError):
        async with limit.running():
            await asyncio.Event().wait()


async def test_it_does_not_run_while_the_client_is_waited_for() -> None:
    limit = Limit(0.3)
    async with limit.running():
        with limit.suspended():
            await asyncio.sleep(0.4)
    assert limit.waited >= 0.4


async def test_waiting_in_both_directions_counts_once() -> None:
    limit = Limit(10)
    async with limit.running():
        with limit.suspended():
            with limit.suspended():
                await asyncio.sleep(0.02)
            inner = limit.waited
    assert inner == 0
    assert 0.02 <= limit.waited < 10


async def test_all_tries_share_it() -> None:
    limit = Limit(0.1)

    async def a_hundred_tries() -> None:
        for _ in range(100):
            async with limit.running():
                await asyncio.sleep(0.01)

    with pytest.raises(TimeoutError):
        await a_hundred_tries()


async def test_a_limit_that_is_lifted_ends_nothing() -> None:
    limit = Limit(0.01)
    async with limit.running():
        limit.lift()
        with limit.suspended():
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.02)
