"""A controller that dies at any of its writes, before or after it is made: the next one goes on and ends right."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from hotswap import kv
from hotswap.deployment import Bake, Status
from hotswap.errors import NotLeader
from hotswap.memory import MemoryKV, MemoryLease
from hotswap.model import WeightChange
from hotswap.store import Fence, Store
from tests.controller_platform import FUNCTION, LIMIT, Platform, all_at_once, canary, platform

MOST_WRITES = 60
"""More than any deployment of these tests makes."""


class DyingKV:
    """A store whose user dies at its n-th write: the write is made or not, and nothing ever comes back."""

    def __init__(self, inner: kv.KV, *, write: int, made: bool) -> None:
        self._inner = inner
        self._left = write
        self._made = made
        self.died = asyncio.Event()

    async def commit(self, *, require: Sequence[kv.Requirement], write: Sequence[kv.Write]) -> int:
        self._left -= 1
        if self._left > 0 and not self.died.is_set():
            return await self._inner.commit(require=require, write=write)
        if self._made and not self.died.is_set():
            await self._inner.commit(require=require, write=write)
        self.died.set()
        await asyncio.Event().wait()
        raise AssertionError("dead")

    async def get(self, key: str) -> kv.Item | None:
        return await self._inner.get(key)

    async def range(self, prefix: str) -> kv.Listing:
        return await self._inner.range(prefix)

    def watch(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[kv.Batch]]:
        return self._inner.watch(prefix)

    async def grant(self, ttl: timedelta) -> kv.Lease:
        return await self._inner.grant(ttl)

    async def close(self) -> None:
        await self._inner.close()


class LosableLeases(MemoryKV):
    """Remembers the leases it gave, so that a test can let one run out."""

    def __init__(self) -> None:
        super().__init__()
        self.granted: list[MemoryLease] = []

    async def grant(self, ttl: timedelta) -> MemoryLease:
        self.granted.append(await super().grant(ttl))
        return self.granted[-1]


async def dies_at(world: Platform, name: str, *, write: int, made: bool) -> bool:
    """Runs a controller until it dies at that write; false when the deployment ended before."""
    dying = DyingKV(world.kv, write=write + 1, made=made)  # its first write makes it the leader
    async with world.leading("dying", kv=dying):
        died, ended = asyncio.create_task(dying.died.wait()), asyncio.create_task(world.ended(name))
        await asyncio.wait([died, ended], return_when=asyncio.FIRST_COMPLETED, timeout=LIMIT)
        died.cancel()
        ended.cancel()
        await asyncio.gather(died, ended, return_exceptions=True)
        return dying.died.is_set()


@pytest.mark.parametrize("made", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("bad", [False, True], ids=["succeeds", "rolled back"])
async def test_a_deployment_ends_right_wherever_its_controller_dies(tmp_path: Path, *, bad: bool, made: bool) -> None:
    for write in range(1, MOST_WRITES):
        async with platform(MemoryKV(), tmp_path, nodes=1) as world:
            async with world.leading() as api:
                await world.deployed(api, all_at_once(1))
            world.behaviour.failing[2] = 0.5 if bad else 0.0
            async with world.standing_by("other") as api:
                name = await world.deploy(api, canary(2, seconds=0.01, increments=[10, 100]))
            died = await dies_at(world, name, write=write, made=made)
            async with world.leading("next"):
                ended = await world.ended(name)
                await world.assigned_becomes("n1", {1} if bad else {2})
            alias = await world.alias()
            assert ended.status is (Status.ROLLED_BACK if bad else Status.SUCCEEDED)
            assert alias.weights == ({1: 100} if bad else {2: 100})
            assert alias.last_good == (1 if bad else 2)
            assert shown(alias.history) == ([{1: 100}, {1: 90, 2: 10}, {1: 100} if bad else {2: 100}])
            assert [one.value.number for one in await world.store.events.list(name)] == list(range(1, ended.events + 1))
            assert await world.store.active.list() == []
            if not died:
                return
    raise AssertionError(f"still dying after {MOST_WRITES} writes")


def shown(history: Sequence[WeightChange]) -> list[dict[int, int]]:
    return [change.weights for change in history]


async def test_a_leader_that_was_followed_cannot_write_any_more(tmp_path: Path) -> None:
    async with platform(MemoryKV(), tmp_path) as world:
        async with world.leading("first"):
            stored = (await world.store.leader.list())[0]
            fence = Fence(stored.key, stored.create_revision)
        async with world.leading("second") as api:
            await world.deployed(api, all_at_once(1))
            alias = await world.store.aliases.get(FUNCTION, "production")
            assert alias
            with pytest.raises(NotLeader):
                await Store(world.kv).transaction(fence).replace(alias, alias.value).commit()


async def test_a_deployment_goes_on_under_the_next_leader_when_a_lease_is_lost(tmp_path: Path) -> None:
    leases = LosableLeases()
    async with platform(leases, tmp_path) as world, world.leading("first") as api, world.running("second"):
        await world.deployed(api, all_at_once(1))
        name = await world.deploy(api, canary(2, seconds=0.3))
        await world.until(name, lambda it: isinstance(it.steps[it.progress.index], Bake))
        before = await world.store.leader.list()
        leases.granted[-1].expire()
        ended = await world.ended(name)
        assert (await world.store.leader.list())[0].create_revision > before[0].create_revision
        assert ended.status is Status.SUCCEEDED
        assert (await world.alias()).weights == {2: 100}


async def test_agents_hear_the_fence_of_the_leader(tmp_path: Path) -> None:
    async with platform(MemoryKV(), tmp_path) as world, world.leading() as api:
        leader = (await world.store.leader.list())[0]
        await world.deployed(api, all_at_once(1))
        assert {fence for agent in world.agents.values() for fence in agent.fences} <= {leader.create_revision}
