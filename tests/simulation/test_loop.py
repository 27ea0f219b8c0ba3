"""The loop of the simulation: time that jumps, and an order that the seed decides."""

import asyncio
from random import Random

import pytest

from tests.simulation.loop import SimulatedLoop, Stuck


def test_time_stands_still_while_anything_runs_and_then_jumps() -> None:
    loop = SimulatedLoop(Random(0))

    async def sleeps() -> list[float]:
        times = [loop.time()]
        for delay in (0, 3600, 0.25):
            await asyncio.sleep(delay)
            times.append(loop.time())
        return times

    assert loop.run_until_complete(sleeps()) == [0, 0, 3600, 3600.25]
    loop.close()


def order(seed: int) -> list[int]:
    loop, seen = SimulatedLoop(Random(seed)), []

    async def step(number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(number)

    async def all_steps() -> None:
        await asyncio.gather(*map(step, range(4)))

    loop.run_until_complete(all_steps())
    loop.close()
    return seen


def test_the_seed_decides_which_task_goes_first() -> None:
    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(10)}) > 5


def test_callbacks_keep_their_order_and_go_before_tasks() -> None:
    loop, seen = SimulatedLoop(Random(0)), list[str]()

    async def task() -> None:
        asyncio.get_running_loop().call_soon(seen.append, "first")
        asyncio.get_running_loop().call_soon(seen.append, "second")
        await asyncio.sleep(0)
        seen.append("task")

    loop.run_until_complete(task())
    loop.close()
    assert seen == ["first", "second", "task"]


def test_a_world_in_which_nothing_can_happen_any_more_is_told() -> None:
    loop = SimulatedLoop(Random(0))
    with pytest.raises(Stuck, match="nothing will ever happen"):
        loop.run_until_complete(asyncio.Event().wait())
    loop.close()


def test_what_is_left_at_the_end_is_ended() -> None:
    loop, seen = SimulatedLoop(Random(0)), list[str]()

    async def lingers() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            seen.append("ended")

    async def leaves_it() -> asyncio.Task[None]:
        task = asyncio.create_task(lingers())
        await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(leaves_it())
    loop.close()
    assert task.cancelled()
    assert seen == ["ended"]
