"""What `hotswap.kv` promises, of every store that says it keeps it."""

import asyncio
import time
from datetime import timedelta

import pytest

from hotswap.kv import KV, Absent, Conflict, Delete, Deleted, Item, LeaseLost, NoneNewer, Present, Put, Unchanged

LIMIT = 10
"""Seconds that anything here may take."""


async def put(kv: KV, *pairs: tuple[str, bytes], lease: int = 0) -> int:
    return await kv.commit(require=[], write=[Put(key, value, lease) for key, value in pairs])


async def test_a_key_that_does_not_exist_is_none(kv: KV) -> None:
    assert await kv.get("/t/a") is None


async def test_an_item_tells_when_it_was_created_and_when_it_was_last_written(kv: KV) -> None:
    created = await put(kv, ("/t/a", b"1"))
    written = await put(kv, ("/t/a", b"2"))
    assert await kv.get("/t/a") == Item("/t/a", b"2", created, written)


async def test_a_key_created_anew_has_a_new_create_revision(kv: KV) -> None:
    await put(kv, ("/t/a", b"1"))
    await kv.commit(require=[], write=[Delete("/t/a")])
    created = await put(kv, ("/t/a", b"2"))
    assert await kv.get("/t/a") == Item("/t/a", b"2", created, created)


async def test_revisions_grow_by_one_with_each_transaction_whatever_its_size(kv: KV) -> None:
    first = await put(kv, ("/t/a", b"1"), ("/t/b", b"1"), ("/t/c", b"1"))
    assert await put(kv, ("/t/a", b"2")) == first + 1


async def test_a_transaction_that_changes_nothing_has_no_revision_of_its_own(kv: KV) -> None:
    before = await put(kv, ("/t/a", b"1"))
    assert await kv.commit(require=[], write=[Delete("/t/not-there")]) == before
    assert await kv.commit(require=[Unchanged("/t/a", before)], write=[]) == before


async def test_a_range_is_sorted_and_holds_only_its_prefix(kv: KV) -> None:
    revision = await put(kv, ("/t/b/2", b""), ("/t/a", b""), ("/t/b/1", b"\xff\0"), ("/t/c", b""), ("/t/b0", b""))
    listing = await kv.range("/t/b/")
    assert [(one.key, one.value) for one in listing.items] == [("/t/b/1", b"\xff\0"), ("/t/b/2", b"")]
    assert listing.revision == revision


async def test_a_range_tells_the_revision_of_the_whole_store(kv: KV) -> None:
    await put(kv, ("/t/a/1", b""))
    revision = await put(kv, ("/t/b/1", b""))
    assert (await kv.range("/t/a/")).revision == revision


async def test_a_range_of_nothing_is_empty(kv: KV) -> None:
    assert (await kv.range("/t/")).items == ()


async def test_keys_and_values_of_any_text_and_bytes(kv: KV) -> None:
    await put(kv, ("/t/żółć/€", bytes(range(256))))
    assert [one.key for one in (await kv.range("/t/ż")).items] == ["/t/żółć/€"]


async def test_absent_holds_only_while_the_key_does_not_exist(kv: KV) -> None:
    await kv.commit(require=[Absent("/t/a")], write=[Put("/t/a", b"1")])
    with pytest.raises(Conflict, match="/t/a"):
        await kv.commit(require=[Absent("/t/a")], write=[Put("/t/a", b"2")])
    await kv.commit(require=[], write=[Delete("/t/a")])
    await kv.commit(require=[Absent("/t/a")], write=[Put("/t/a", b"3")])


async def test_unchanged_holds_only_for_the_last_write(kv: KV) -> None:
    first = await put(kv, ("/t/a", b"1"))
    second = await kv.commit(require=[Unchanged("/t/a", first)], write=[Put("/t/a", b"2")])
    with pytest.raises(Conflict):
        await kv.commit(require=[Unchanged("/t/a", first)], write=[Put("/t/a", b"3")])
    await kv.commit(require=[Unchanged("/t/a", second)], write=[Delete("/t/a")])
    with pytest.raises(Conflict):
        await kv.commit(require=[Unchanged("/t/a", second)], write=[Put("/t/a", b"4")])


async def test_present_holds_through_changes_but_not_through_a_deletion(kv: KV) -> None:
    created = await put(kv, ("/t/lead", b"1"))
    await put(kv, ("/t/lead", b"2"))
    await kv.commit(require=[Present("/t/lead", created)], write=[Put("/t/a", b"1")])
    await kv.commit(require=[], write=[Delete("/t/lead")])
    await put(kv, ("/t/lead", b"3"))
    with pytest.raises(Conflict):
        await kv.commit(require=[Present("/t/lead", created)], write=[Put("/t/a", b"2")])


async def test_none_newer_holds_until_something_under_the_prefix_is_written_or_made(kv: KV) -> None:
    await kv.commit(require=[NoneNewer("/t/a/", 0)], write=[Put("/t/a/1", b"1")])
    with pytest.raises(Conflict, match="/t/a/"):
        await kv.commit(require=[NoneNewer("/t/a/", 0)], write=[Put("/t/b", b"1")])
    read = (await kv.range("/t/a/")).revision
    beside = await put(kv, ("/t/a", b""), ("/t/a0", b""), ("/t/b", b""))
    await kv.commit(require=[NoneNewer("/t/a/", read)], write=[Put("/t/b", b"2")])
    written = await put(kv, ("/t/a/1", b"2"))
    with pytest.raises(Conflict):
        await kv.commit(require=[NoneNewer("/t/a/", beside)], write=[Put("/t/b", b"3")])
    await kv.commit(require=[NoneNewer("/t/a/", written)], write=[Put("/t/a/2", b"new")])
    with pytest.raises(Conflict):
        await kv.commit(require=[NoneNewer("/t/a/", written)], write=[Put("/t/b", b"3")])
    await kv.commit(require=[], write=[Delete("/t/a/2")])
    await kv.commit(require=[NoneNewer("/t/a/", written)], write=[Put("/t/b", b"3")])


async def test_a_conflict_writes_nothing(kv: KV) -> None:
    before = await put(kv, ("/t/a", b"1"))
    with pytest.raises(Conflict):
        await kv.commit(require=[Absent("/t/b"), Absent("/t/a")], write=[Put("/t/b", b"1"), Delete("/t/a")])
    assert (await kv.range("/t/")).revision == before
    assert await kv.get("/t/b") is None


async def test_of_many_writers_at_once_one_wins(kv: KV) -> None:
    async def create(number: int) -> bool:
        try:
            await kv.commit(require=[Absent("/t/a")], write=[Put("/t/a", b"%d" % number)])
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*map(create, range(20)))) == 1


async def test_a_transaction_that_no_store_would_take_is_refused_at_once(kv: KV) -> None:
    with pytest.raises(ValueError, match="each key once"):
        await kv.commit(require=[], write=[Put("/t/a", b"1"), Delete("/t/a")])
    with pytest.raises(ValueError, match="128"):
        await kv.commit(require=[], write=[Delete(f"/t/{i}") for i in range(129)])
    await kv.commit(require=[Absent(f"/t/{i}") for i in range(128)], write=[Put(f"/t/{i}", b"") for i in range(128)])


async def test_the_keys_of_a_lease_go_at_once_when_it_is_revoked(kv: KV) -> None:
    lease = await kv.grant(timedelta(seconds=60))
    await put(kv, ("/t/a", b""), ("/t/b", b""), lease=lease.id)
    await put(kv, ("/t/c", b""))
    await lease.revoke()
    assert [one.key for one in (await kv.range("/t/")).items] == ["/t/c"]


async def test_a_key_lives_with_the_lease_of_its_last_write(kv: KV) -> None:
    first, second = await kv.grant(timedelta(seconds=60)), await kv.grant(timedelta(seconds=60))
    await put(kv, ("/t/moved", b"1"), ("/t/freed", b"1"), lease=first.id)
    await put(kv, ("/t/moved", b"2"), lease=second.id)
    await put(kv, ("/t/freed", b"2"))
    await first.revoke()
    assert [one.key for one in (await kv.range("/t/")).items] == ["/t/freed", "/t/moved"]
    await second.revoke()
    assert [one.key for one in (await kv.range("/t/")).items] == ["/t/freed"]


async def test_a_key_tells_the_lease_of_its_last_write(kv: KV) -> None:
    first, second = await kv.grant(timedelta(seconds=60)), await kv.grant(timedelta(seconds=60))
    await put(kv, ("/t/moved", b"1"), ("/t/freed", b"1"), lease=first.id)
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        await anext(batches)
        await put(kv, ("/t/moved", b"2"), lease=second.id)
        (told,) = (await anext(batches)).changes
    assert isinstance(told, Item)
    assert told.lease == second.id
    assert {one.key: one.lease for one in (await kv.range("/t/")).items} == {
        "/t/moved": second.id,
        "/t/freed": first.id,
    }
    await put(kv, ("/t/freed", b"2"))
    assert {one.key: one.lease for one in (await kv.range("/t/")).items} == {"/t/moved": second.id, "/t/freed": 0}
    moved = await kv.get("/t/moved")
    assert moved
    assert moved.lease == second.id


async def test_a_lease_that_is_abandoned_still_has_its_keys(kv: KV) -> None:
    first, second = await kv.grant(timedelta(seconds=60)), await kv.grant(timedelta(seconds=60))
    await put(kv, ("/t/a", b"1"), lease=first.id)
    await put(kv, ("/t/a", b"2"), lease=second.id)
    await second.abandon()
    await first.revoke()
    found = await kv.get("/t/a")
    assert found
    assert found.value == b"2"


async def test_every_lease_has_an_id_of_its_own(kv: KV) -> None:
    first = await kv.grant(timedelta(seconds=60))
    await first.revoke()
    second, third = await kv.grant(timedelta(seconds=60)), await kv.grant(timedelta(seconds=60))
    assert len({first.id, second.id, third.id, 0}) == 4


async def test_a_lease_that_lives_has_its_deadline_ahead_and_one_that_is_gone_has_none(kv: KV) -> None:
    lease = await kv.grant(timedelta(seconds=60))
    assert time.monotonic() < lease.deadline <= time.monotonic() + 60
    await lease.revoke()
    assert lease.deadline == 0


async def test_the_holder_is_told_when_its_lease_is_gone(kv: KV) -> None:
    lease = await kv.grant(timedelta(seconds=60))
    waiting = asyncio.create_task(lease.lost())
    await lease.revoke()
    await asyncio.wait_for(waiting, LIMIT)
    await asyncio.wait_for(lease.lost(), LIMIT)


async def test_revoking_twice_is_no_error(kv: KV) -> None:
    lease = await kv.grant(timedelta(seconds=60))
    await lease.revoke()
    await lease.revoke()


async def test_a_write_under_a_lease_that_is_gone_is_refused_whole(kv: KV) -> None:
    lease = await kv.grant(timedelta(seconds=60))
    await lease.revoke()
    with pytest.raises(LeaseLost):
        await kv.commit(require=[Absent("/t/a")], write=[Put("/t/a", b""), Put("/t/b", b"", lease.id)])
    assert (await kv.range("/t/")).items == ()


async def test_a_requirement_is_looked_at_before_the_lease(kv: KV) -> None:
    lease = await kv.grant(timedelta(seconds=60))
    await lease.revoke()
    await put(kv, ("/t/a", b""))
    with pytest.raises(Conflict):
        await kv.commit(require=[Absent("/t/a")], write=[Put("/t/b", b"", lease.id)])


async def test_a_watch_begins_with_all_there_is(kv: KV) -> None:
    await put(kv, ("/t/b", b"1"))
    revision = await put(kv, ("/t/a", b"2"), ("/other", b""))
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        first = await anext(batches)
    assert first.whole
    assert [change.key for change in first.changes] == ["/t/a", "/t/b"]
    assert first.revision == revision


async def test_a_watch_of_nothing_begins_with_a_whole_batch_that_is_empty(kv: KV) -> None:
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        first = await anext(batches)
        assert first.whole
        assert first.changes == ()
        await put(kv, ("/t/a", b"1"))
        assert not (await anext(batches)).whole


async def test_a_watch_tells_each_revision_whole_and_in_order(kv: KV) -> None:
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        await anext(batches)
        created = await put(kv, ("/t/a", b"1"), ("/other", b""), ("/t/b", b"1"))
        changed = await kv.commit(require=[], write=[Delete("/t/a"), Put("/t/b", b"2")])
        told: list[Item | Deleted] = []
        while len(told) < 4:
            batch = await anext(batches)
            told += batch.changes
            assert batch.revision == told[-1].mod_revision
        assert told == [
            Item("/t/a", b"1", created, created),
            Item("/t/b", b"1", created, created),
            Deleted("/t/a", changed),
            Item("/t/b", b"2", created, changed),
        ]


async def test_a_watch_misses_nothing_that_is_written_between_its_first_batch_and_its_second(kv: KV) -> None:
    await put(kv, ("/t/n", b"-1"))
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        writing = asyncio.create_task(_count_up(kv, 50))
        seen: list[int] = []
        while not seen or seen[-1] < 49:
            seen += [int(change.value) for change in (await anext(batches)).changes if isinstance(change, Item)]
        await writing
    assert seen == list(range(seen[0], 50))


async def _count_up(kv: KV, end: int) -> None:
    for number in range(end):
        await put(kv, ("/t/n", b"%d" % number))


async def test_a_watch_tells_what_a_lease_takes_along(kv: KV) -> None:
    lease = await kv.grant(timedelta(seconds=60))
    await put(kv, ("/t/a", b""), ("/t/b", b""), lease=lease.id)
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        await anext(batches)
        await lease.revoke()
        batch = await anext(batches)
        assert {change.key for change in batch.changes} == {"/t/a", "/t/b"}
        assert all(isinstance(change, Deleted) and change.mod_revision == batch.revision for change in batch.changes)


async def test_watches_do_not_hear_of_each_other(kv: KV) -> None:
    async with asyncio.timeout(LIMIT), kv.watch("/t/a/") as one, kv.watch("/t/b/") as other:
        await anext(one)
        await anext(other)
        await put(kv, ("/t/b/1", b"b"))
        await put(kv, ("/t/a/1", b"a"))
        assert [change.key for change in (await anext(one)).changes] == ["/t/a/1"]
        assert [change.key for change in (await anext(other)).changes] == ["/t/b/1"]


async def test_a_watch_that_is_left_while_it_waits_ends(kv: KV) -> None:
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        await anext(batches)
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
