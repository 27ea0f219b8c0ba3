"""What a sample of a deployment is made of: the routers' counts, and of a test what was told later too."""

import asyncio
from datetime import UTC, datetime, timedelta

from controller.decision import Counted, Uncounted
from controller.metrics.routers import Trail
from controller.sampling import Sampler, looking
from hotswap import kv, requests
from hotswap.deployment import Deployment
from hotswap.memory import MemoryKV
from hotswap.metrics import CounterRow, Counters, Tally
from hotswap.outcomes import KeptOutcomes
from hotswap.store import ROOT, Store
from hotswap.usage import Reported, Usage
from tests.conditions import eventually
from tests.controller_walk import deployment

SINCE = 70
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEST = requests.ABTesting(function_name="f", version=6)
CANARY = requests.Canary(function_name="f", version=6)


class Router:
    async def counters(self, function: str) -> list[Counters]:
        usage = Usage(reported={"revenue": Reported.one(1.0, cell=1)})
        row = CounterRow(
            function="f", alias="production", version=6, alias_revision=SINCE, tally=Tally.zero(), usage=usage
        )
        return [Counters(router="r1", boot="1", rows=[row])]


async def sampled(asked: Deployment, store: Store) -> Counted | Uncounted:
    woken = asyncio.Event()
    trail = Trail(Router(), function="f", alias="production", since=SINCE)
    sampler = Sampler(looking(trail, asked, store), clock=lambda: NOW, wake=woken.set)
    sampler.counted(since=NOW)
    async with asyncio.timeout(20):
        await woken.wait()
    await sampler.stop()
    return sampler.counted(since=NOW - timedelta(seconds=1))


class Held:
    """Counts that are told when they are let go."""

    def __init__(self) -> None:
        self.begun: list[datetime] = []
        self.let_go = asyncio.Event()

    async def __call__(self, begun: datetime) -> Counted:
        self.begun.append(begun)
        await self.let_go.wait()
        return Counted({}, begun)


async def test_what_comes_while_a_sample_is_under_way_is_in_the_one_that_follows() -> None:
    looks, now = Held(), NOW
    sampler = Sampler(looks, clock=lambda: now, wake=lambda: None)
    sampler.hasten()
    await eventually(lambda: looks.begun == [NOW])
    now = NOW + timedelta(milliseconds=1)
    sampler.hasten()
    looks.let_go.set()
    long_ago = NOW - timedelta(hours=1)
    await eventually(lambda: isinstance(sampler.counted(since=long_ago), Counted) and len(looks.begun) == 2)
    await sampler.stop()
    assert looks.begun == [NOW, now]


async def told() -> Store:
    store = Store(MemoryKV())
    kept = KeptOutcomes(
        function="f",
        alias="production",
        revision=SINCE,
        shard=0,
        versions={6: {"revenue": Reported.one(5.0, cell=2)}},
    )
    await store.transaction().create(kept).commit()
    return store


async def test_of_a_test_what_was_reported_and_what_was_told_later_is_one_sum() -> None:
    counted = await sampled(deployment(TEST, stable={5: 100}), await told())
    assert isinstance(counted, Counted)
    assert counted.usage_of(6, since=SINCE).reported["revenue"].sum == 6.0
    assert counted.usage_of(6, since=SINCE + 1) == Usage()


async def test_of_others_nobody_looks_for_it() -> None:
    counted = await sampled(deployment(CANARY, stable={5: 100}), await told())
    assert isinstance(counted, Counted)
    assert counted.usages == {}


async def test_outcomes_that_cannot_be_read_are_no_counts_and_it_is_said_where_they_stand() -> None:
    store = Store(MemoryKV())
    key = f"{ROOT}outcomes/f/production/{SINCE}/0"
    await store.kv.commit(require=[], write=[kv.Put(key, b"{}")])
    found = await sampled(deployment(TEST, stable={5: 100}), store)
    assert isinstance(found, Uncounted)
    assert key in found.why
