"""When the answer to a mutation is kept under its key, and for how long."""

from datetime import timedelta

import pytest

from controller.api.rest.once import Key, Once
from controller.api.rest.problems import Rendered
from hotswap import kv
from hotswap.memory import MemoryKV, MemoryLease
from hotswap.store import Store

KEY = Key.of(caller="ada", key="k", request=[b"deploy 1"])
MADE = Rendered(201, b'{"id": "d-1"}', {"Location": "/d-1"})


class Leasing(MemoryKV):
    """Remembers its leases, for a test to end them."""

    def __init__(self) -> None:
        super().__init__()
        self.leases: list[tuple[timedelta, MemoryLease]] = []

    async def grant(self, ttl: timedelta) -> MemoryLease:
        lease = await super().grant(ttl)
        self.leases.append((ttl, lease))
        return lease


class Mutation:
    def __init__(self, answer: Rendered = MADE) -> None:
        self.answer = answer
        self.times = 0

    async def make(self) -> Rendered:
        self.times += 1
        return self.answer


async def test_it_is_made_once_and_its_answer_given_again() -> None:
    once, mutation = Once(Store(MemoryKV())), Mutation()
    first = await once.answer(KEY, mutation.make)
    again = await once.answer(KEY, mutation.make)
    assert (first, mutation.times) == (MADE, 1)
    assert (again.status, again.body, again.headers["Location"]) == (201, MADE.body, "/d-1")


async def test_the_answer_is_kept_for_a_day_and_then_forgotten() -> None:
    store, mutation = Leasing(), Mutation()
    once = Once(Store(store))
    await once.answer(KEY, mutation.make)
    ttl, lease = store.leases[-1]
    assert ttl == timedelta(hours=24)
    lease.expire()
    await once.answer(KEY, mutation.make)
    assert mutation.times == 2


async def test_an_answer_that_may_be_another_later_is_not_kept() -> None:
    once = Once(Store(MemoryKV()))
    await once.answer(KEY, Mutation(Rendered(503, b"{}", final=False)).make)
    assert await once.answer(KEY, Mutation().make) == MADE


async def test_a_mutation_that_fails_leaves_its_key_free() -> None:
    once = Once(Store(MemoryKV()))

    async def fail() -> Rendered:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError):
        await once.answer(KEY, fail)
    assert await once.answer(KEY, Mutation().make) == MADE


async def test_the_claim_of_a_controller_that_died_ends_with_its_lease() -> None:
    store = Leasing()
    once = Once(Store(store))

    async def die() -> Rendered:
        """Before it dies, nobody else is let in."""
        _, lease = store.leases[0]
        lease.expire()
        assert await once.answer(KEY, Mutation().make) == MADE
        raise RuntimeError("too late")

    with pytest.raises(RuntimeError):
        await once.answer(KEY, die)


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same() -> None:
    class Forgetful(Leasing):
        async def grant(self, ttl: timedelta) -> MemoryLease:
            if self.leases:
                raise kv.Unreachable("etcd has gone")
            return await super().grant(ttl)

    assert await Once(Store(Forgetful())).answer(KEY, Mutation().make) == MADE


def test_no_two_requests_are_taken_for_one() -> None:
    parts = [[b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", b""]]
    keys = [Key.of(caller="ada", key="k", request=part) for part in parts]
    assert len({key.request for key in keys}) == len(parts)
    assert Key.of(caller="ab", key="c", request=[]).id != Key.of(caller="a", key="bc", request=[]).id
