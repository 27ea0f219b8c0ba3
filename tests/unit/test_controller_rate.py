"""Samples of what the routers count, and how often an alias is invoked by these."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from controller.decision import Counted
from controller.metrics.routers import Trail
from controller.sampling import LEAST_LAPSE, WHILE, Sampler, looking
from hotswap.memory import MemoryKV
from hotswap.metrics import Count, CounterRow, Counters, Tally
from hotswap.store import Store
from tests.controller_walk import deployment

BEGIN = datetime(2025, 11, 23, 12, 0, tzinfo=UTC)
EVERY = timedelta(seconds=2)


class Counting:
    """A router that has answered as many invocations as are told, one number after the other."""

    def __init__(self, answered: Iterator[int]) -> None:
        self._answered = answered

    async def counters(self, function: str) -> list[Counters]:
        counts = Tally.zero().counts
        counts[Count.OK] = next(self._answered)
        row = CounterRow(function="f", alias="a", version=1, alias_revision=7, tally=Tally(counts=counts))
        return [Counters(router="r1", boot="1", rows=[row])]


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now


async def sampled(*answered: int, every: timedelta = EVERY) -> list[Counted]:
    """What is told after each of the looks."""
    clock, woken = Clock(), asyncio.Event()
    trail = Trail(Counting(iter(answered)), function="f", alias="a", since=0)
    looks = looking(trail, deployment(stable={5: 100}), Store(MemoryKV()))
    sampler, told = Sampler(looks, clock=clock, wake=woken.set), []
    for _ in answered:
        clock.now += every
        sampler.counted(since=clock.now)
        await asyncio.wait_for(woken.wait(), 20)
        woken.clear()
        found = sampler.counted(since=BEGIN)
        assert isinstance(found, Counted)
        told.append(found)
    await sampler.stop()
    return told


async def test_the_first_look_tells_no_rate() -> None:
    [first] = await sampled(1000)
    assert (first.lapse, first.span) == (timedelta(), timedelta())


async def test_each_look_tells_what_has_come_since_the_one_before_it() -> None:
    *_, last = await sampled(1000, 1040, 1100)
    assert (last.fresh, last.lapse) == (60, EVERY)


async def test_what_has_come_lately_is_that_of_the_last_while_alone() -> None:
    looks = 40
    *_, last = await sampled(*range(0, looks * 10, 10))
    assert last.span == WHILE
    assert last.lately == 10 * (WHILE / EVERY)


async def test_what_a_version_did_lately_is_what_it_did_in_the_last_while() -> None:
    looks = 40
    *_, last = await sampled(*range(0, looks * 10, 10))
    assert last.lately_of(1, since=0).invocations == 10 * (WHILE / EVERY)
    assert last.of(1, since=0).invocations == (looks - 1) * 10


async def test_of_the_first_look_nothing_is_lately() -> None:
    [first] = await sampled(1000)
    assert first.lately_of(1, since=0).invocations == 0


async def test_looks_that_follow_each_other_at_once_tell_the_rate_of_a_longer_time() -> None:
    hasty = LEAST_LAPSE / 4
    first, second, third, fourth, fifth, sixth = await sampled(1000, 1000, 1050, 1050, 1060, 1070, every=hasty)
    assert not any(it.lapse for it in (first, second, third, fourth))
    assert (fifth.fresh, fifth.lapse) == (60, LEAST_LAPSE)
    assert (sixth.fresh, sixth.lapse) == (70, LEAST_LAPSE)


async def test_looks_that_are_further_apart_than_the_last_while_tell_a_rate_too() -> None:
    *_, last = await sampled(1000, 1040, 1100, every=2 * WHILE)
    assert (last.fresh, last.lapse) == (60, 2 * WHILE)
