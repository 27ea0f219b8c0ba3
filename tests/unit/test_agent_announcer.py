"""What a node announces, under one lease, whatever happens to the lease and to the store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from agent.nodes import WRITES, Announcer
from hotswap.kv import Conflict, LeaseLost, Requirement, Unreachable, Write
from hotswap.memory import MemoryKV, MemoryLease
from hotswap.model import Endpoint
from hotswap.store import Store, Stored
from tests.conditions import eventually


def endpoint(number: int) -> Endpoint:
    return Endpoint(function="f", version=1, instance=f"i{number}", node="n", address="127.0.0.1:1", concurrency=1)


@asynccontextmanager
async def announcing(kv: MemoryKV) -> AsyncIterator[tuple[Announcer, Store]]:
    store = Store(kv)
    announcer = Announcer(store, "n")
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(announcer.run())
        yield announcer, store
        running.cancel()


async def standing(store: Store) -> set[str]:
    return {stored.value.instance for stored in await store.endpoints.list()}


def leases(kv: MemoryKV) -> list[MemoryLease]:
    return list(kv._leases.values())


async def test_what_is_announced_stands_until_it_is_withdrawn() -> None:
    async with announcing(MemoryKV()) as (announcer, store):
        first = await announcer.announce(endpoint(1))
        assert await standing(store) == {"i1"}
        assert await announcer.withdraw(endpoint(1)) > first
        assert await standing(store) == set()


async def test_more_than_a_transaction_takes_is_announced_in_several() -> None:
    async with announcing(MemoryKV()) as (announcer, store):
        done = [announcer.announce(endpoint(number)) for number in range(3 * WRITES)]
        await asyncio.gather(*done)
        assert len(await standing(store)) == 3 * WRITES


async def test_a_late_write_of_an_agent_that_was_killed_is_refused() -> None:
    held: list[tuple[Sequence[Requirement], Sequence[Write]]] = []

    class Late(MemoryKV):
        """Keeps what the first agent writes last."""

        keeps = False

        async def commit(self, *, require: Sequence[Requirement], write: Sequence[Write]) -> int:
            if self.keeps:
                held.append((require, write))
                raise Unreachable("the store does not answer")
            return await super().commit(require=require, write=write)

    kv = Late()
    async with announcing(kv) as (announcer, store):
        await announcer.announce(endpoint(1))
        kv.keeps = True
        announcer.announce(endpoint(1))
        await eventually(lambda: bool(held))
        kv.keeps = False
    async with announcing(kv) as (successor, store):
        await successor.announce(endpoint(1))
        require, write = held[0]
        with pytest.raises(Conflict):
            await kv.commit(require=require, write=write)
        leases(kv)[0].expire()
        assert await standing(store) == {"i1"}


async def test_a_write_that_is_repeated_when_its_endpoint_is_gone_is_refused() -> None:
    made: list[tuple[Sequence[Requirement], Sequence[Write]]] = []

    class Remembering(MemoryKV):
        async def commit(self, *, require: Sequence[Requirement], write: Sequence[Write]) -> int:
            made.append((require, write))
            return await super().commit(require=require, write=write)

    kv = Remembering()
    async with announcing(kv) as (announcer, store):
        await announcer.announce(endpoint(1))
        await announcer.withdraw(endpoint(1))
        for require, write in made[1:]:
            with pytest.raises(Conflict):
                await kv.commit(require=require, write=write)
        assert await standing(store) == set()


async def test_after_a_late_write_has_come_between_all_is_announced_anew() -> None:
    async with announcing(MemoryKV()) as (announcer, store):
        await announcer.announce(endpoint(1))
        claim = await store.claims.get("n")
        assert claim
        await store.transaction().replace(claim, claim.value).commit()
        await announcer.announce(endpoint(2))
        assert await standing(store) == {"i1", "i2"}


async def test_an_endpoint_is_told_to_be_withdrawn_before_it_is_deleted() -> None:
    async with announcing(MemoryKV()) as (announcer, store), store.endpoints.watch() as batches:
        await announcer.announce(endpoint(1))
        await announcer.withdraw(endpoint(1))
        told: list[bool | None] = []
        while len(told) < 3:
            changes = (await anext(batches)).changes
            told += [change.value.withdrawn if isinstance(change, Stored) else None for change in changes]
        assert told == [False, True, None]


async def test_all_that_stands_is_announced_again_when_the_lease_was_lost() -> None:
    kv = MemoryKV()
    async with announcing(kv) as (announcer, store):
        await asyncio.gather(announcer.announce(endpoint(1)), announcer.announce(endpoint(2)))
        await announcer.withdraw(endpoint(2))
        leases(kv)[-1].expire()
        assert await standing(store) == set()
        await announcer.announce(endpoint(3))
        async with store.endpoints.watch() as changes:
            while await standing(store) != {"i1", "i3"}:
                await anext(changes)


async def test_what_is_withdrawn_before_it_was_written_is_never_there() -> None:
    async with announcing(MemoryKV()) as (announcer, store):
        announced = announcer.announce(endpoint(1))
        await announcer.withdraw(endpoint(1))
        assert announced.cancelled()
        assert await standing(store) == set()


class Away(MemoryKV):
    """A store that does not answer for some commits."""

    failures = 2

    async def commit(self, *, require: Sequence[Requirement], write: Sequence[Write]) -> int:
        if self.failures:
            self.failures -= 1
            raise Unreachable("etcd does not answer")
        return await super().commit(require=require, write=write)


async def test_what_could_not_be_written_is_written_later() -> None:
    async with announcing(Away()) as (announcer, store):
        await announcer.announce(endpoint(1))
        assert await standing(store) == {"i1"}


class Delayed(MemoryKV):
    """A store whose first commit is given up by its caller, and arrives when `arrive` says so."""

    kept: Sequence[Write] = ()

    async def commit(self, *, require: Sequence[Requirement], write: Sequence[Write]) -> int:
        if not self.kept:
            self.kept = write
            raise Unreachable("etcd does not answer")
        return await super().commit(require=require, write=write)

    async def arrive(self) -> None:
        await super().commit(require=[], write=self.kept)


async def test_nothing_that_comes_late_stays_when_its_writer_has_given_it_up() -> None:
    kv = Delayed()
    async with announcing(kv) as (announcer, store):
        await announcer.announce(endpoint(1))
        await announcer.withdraw(endpoint(1))
        await eventually(lambda: len(leases(kv)) == 1)
        with pytest.raises(LeaseLost):
            await kv.arrive()
        assert await standing(store) == set()


class Overtaken(Delayed):
    """Its first commit arrives right after the one that was made in its place."""

    async def commit(self, *, require: Sequence[Requirement], write: Sequence[Write]) -> int:
        first = bool(self.kept) and not self.overtaken
        revision = await super().commit(require=require, write=write)
        if first:
            self.overtaken = True
            await self.arrive()
        return revision

    overtaken = False


async def test_what_stands_outlives_an_earlier_write_of_it_that_comes_late() -> None:
    kv = Overtaken()
    async with announcing(kv) as (announcer, store):
        await announcer.announce(endpoint(1))
        await eventually(lambda: len(leases(kv)) == 1)
        await announcer.announce(endpoint(2))
        assert await standing(store) == {"i1", "i2"}


async def test_who_waits_for_a_store_that_is_away_is_let_go_at_the_end() -> None:
    kv = Away()
    kv.failures = 1 << 30
    async with announcing(kv) as (announcer, _):
        withdrawn = announcer.withdraw(endpoint(1))
        announcer.give_up()
        assert await withdrawn == 0


async def test_closing_ends_all_at_once() -> None:
    async with announcing(MemoryKV()) as (announcer, store):
        await announcer.announce(endpoint(1))
    await announcer.close()
    assert await standing(store) == set()
