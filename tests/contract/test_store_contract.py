"""The model in the store, on both stores: typed reading, writing that compares, fences, watches and mirrors."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from hotswap import errors
from hotswap.deployment import Active, Event, Leader
from hotswap.kv import KV, LeaseLost, Put
from hotswap.mirror import mirrored
from hotswap.model import Alias, Assignment, Endpoint, Function
from hotswap.store import Broken, Fence, Gone, Store, Stored

LIMIT = 10
"""Seconds that anything here may take."""
NOW = datetime(2025, 11, 23, 10, tzinfo=UTC)


@pytest_asyncio.fixture
async def store(kv: KV) -> Store:
    return Store(kv)


def function(name: str, description: str = "") -> Function:
    return Function(name=name, description=description, created=NOW)


def alias(function_name: str, name: str = "production", version: int = 1) -> Alias:
    return Alias(function=function_name, name=name, weights={version: 100})


def endpoint(instance: str, *, version: int = 1) -> Endpoint:
    address = "127.0.0.1:1000"
    return Endpoint(function="fn", version=version, instance=instance, node="node", address=address, concurrency=16)


async def lead(store: Store, name: str = "first") -> Fence:
    leader = Leader(controller=name, address="127.0.0.1:1", since=NOW)
    revision = await store.transaction().create(leader).commit()
    return Fence(store.key_of(leader), revision)


async def stored(store: Store, name: str) -> Stored[Function]:
    found = await store.functions.get(name)
    assert found
    return found


async def test_what_was_created_is_read_back_with_its_revisions(store: Store) -> None:
    revision = await store.transaction().create(function("fn", "makes thumbnails")).commit()
    found = await stored(store, "fn")
    assert (found.value.name, found.value.description, found.value.created) == ("fn", "makes thumbnails", NOW)
    assert (found.create_revision, found.mod_revision) == (revision, revision)
    assert found.key == "/hotswap/functions/fn"


async def test_what_is_not_there_is_none(store: Store) -> None:
    assert await store.functions.get("fn") is None
    assert await store.functions.list() == []


async def test_every_write_has_an_id_of_its_own(store: Store) -> None:
    await store.transaction().create(function("fn")).commit()
    first = await stored(store, "fn")
    await store.transaction().replace(first, first.value).commit()
    second = await stored(store, "fn")
    assert first.value.write_id
    assert second.value.write_id not in {"", first.value.write_id}


async def test_creating_what_exists_is_a_conflict(store: Store) -> None:
    await store.transaction().create(function("fn")).commit()
    with pytest.raises(errors.Conflict, match="changed by somebody else"):
        await store.transaction().create(function("fn", "another")).commit()
    assert (await stored(store, "fn")).value.description == ""


async def test_replacing_deleting_and_requiring_compare_with_what_was_read(store: Store) -> None:
    await store.transaction().create(function("fn")).commit()
    old = await stored(store, "fn")
    await store.transaction().replace(old, function("fn", "new")).commit()
    for transaction in (
        store.transaction().replace(old, function("fn", "late")),
        store.transaction().delete(old),
        store.transaction().require(old).create(function("other")),
        store.transaction().put(function("fn", "late"), over=old),
        store.transaction().put(function("fn", "late"), over=None),
        store.transaction().require_absent(Function, "fn").create(function("other")),
    ):
        with pytest.raises(errors.Conflict):
            await transaction.commit()
    assert [one.value.description for one in await store.functions.list()] == ["new"]
    await store.transaction().delete(await stored(store, "fn")).commit()
    assert await store.functions.get("fn") is None


async def test_a_transaction_is_made_whole_at_one_revision(store: Store) -> None:
    active = Active(function="fn", alias="production", deployment="d1")
    revision = await store.transaction().create(function("fn")).create(alias("fn")).create(active).commit()
    assert (await stored(store, "fn")).mod_revision == revision
    production = await store.aliases.get("fn", "production")
    assert production
    assert production.mod_revision == revision
    assert production.value.weights == {1: 100}


async def test_a_list_of_a_folder_holds_no_neighbour_with_a_like_name(store: Store) -> None:
    write = store.transaction()
    for name in ("image", "image-2"):
        for which in ("production", "staging"):
            write.create(alias(name, which))
    await write.commit()
    assert [one.key for one in await store.aliases.list("image")] == [
        "/hotswap/aliases/image/production",
        "/hotswap/aliases/image/staging",
    ]
    assert len(await store.aliases.list()) == 4


async def test_events_are_listed_in_the_order_of_their_numbers(store: Store) -> None:
    write = store.transaction()
    for number in (1, 2, 10, 100):
        write.create(Event(deployment="d1", number=number, at=NOW, kind="started", text="go"))
    await write.commit()
    assert [one.value.number for one in await store.events.list("d1")] == [1, 2, 10, 100]


async def test_a_leader_writes_as_long_as_its_fence_holds(store: Store) -> None:
    fence = await lead(store)
    await store.transaction(fence).create(function("fn")).commit()
    leader = await store.leader.get("controller")
    assert leader
    await store.transaction().delete(leader).commit()
    with pytest.raises(errors.NotLeader):
        await store.transaction(fence).create(function("late")).commit()
    await lead(store, "second")
    with pytest.raises(errors.NotLeader):
        await store.transaction(fence).create(function("late")).commit()
    assert await store.functions.get("late") is None


async def test_a_conflict_under_a_fence_that_holds_is_a_conflict(store: Store) -> None:
    fence = await lead(store)
    await store.transaction().create(function("fn")).commit()
    with pytest.raises(errors.Conflict):
        await store.transaction(fence).create(function("fn")).commit()


async def test_a_leader_that_changes_its_own_record_keeps_its_fence(store: Store) -> None:
    fence = await lead(store)
    leader = await store.leader.get("controller")
    assert leader
    await store.transaction().replace(leader, leader.value).commit()
    assert await store.holds(fence)


async def test_announcements_write_over_and_go_with_their_lease(store: Store) -> None:
    first, second = [await store.kv.grant(timedelta(seconds=60)) for _ in range(2)]
    for lease in (first, second):
        await (
            store.transaction().announce(endpoint("a"), lease=lease.id).announce(endpoint("b"), lease=lease.id).commit()
        )
    await first.revoke()
    assert len(await store.endpoints.list("fn", 1)) == 2
    await store.transaction().withdraw(endpoint("a")).commit()
    assert [one.value.instance for one in await store.endpoints.list("fn", 1)] == ["b"]
    await second.revoke()
    assert await store.endpoints.list() == []


async def test_announcing_under_a_lease_that_is_gone_says_so(store: Store) -> None:
    lease = await store.kv.grant(timedelta(seconds=60))
    await lease.revoke()
    with pytest.raises(LeaseLost):
        await store.transaction().announce(endpoint("a"), lease=lease.id).commit()


async def test_a_watch_tells_typed_changes_of_its_folder(store: Store) -> None:
    await store.transaction().create(alias("fn")).create(alias("other")).commit()
    async with asyncio.timeout(LIMIT), store.aliases.watch("fn") as changes:
        first = await anext(changes)
        assert first.whole
        [production] = first.changes
        assert isinstance(production, Stored)
        assert production.value.weights == {1: 100}
        await store.transaction().replace(production, alias("fn", version=2)).commit()
        [changed] = (await anext(changes)).changes
        assert isinstance(changed, Stored)
        assert changed.value.weights == {2: 100}
        deleted = await store.transaction().delete(changed).commit()
        assert (await anext(changes)).changes == (Gone(("fn", "production"), deleted),)


async def test_a_value_that_does_not_parse_is_told_as_broken(store: Store) -> None:
    await store.kv.commit(require=[], write=[Put("/hotswap/functions/fn", b'{"name": "fn"}')])
    async with asyncio.timeout(LIMIT), store.functions.watch() as changes:
        [broken] = (await anext(changes)).changes
    assert isinstance(broken, Broken)
    assert broken.parts == ("fn",)
    assert broken.error.startswith('/hotswap/functions/fn: the field "created" is missing')
    with pytest.raises(errors.Invalid, match='field "created" is missing'):
        await store.functions.get("fn")


async def test_a_mirror_holds_the_collection_and_follows_it(store: Store) -> None:
    await store.transaction().create(function("a")).commit()
    async with asyncio.timeout(LIMIT), mirrored(store.functions) as mirror:
        assert [one.value.name for one in mirror] == ["a"]
        revision = await store.transaction().create(function("b")).commit()
        await mirror.until(lambda it: it.revision >= revision)
        assert len(mirror) == 2
        found = mirror.get("/hotswap/functions/a")
        assert found
        await store.transaction().delete(found).commit()
        await mirror.until(lambda it: len(it) == 1)
        assert mirror.get("/hotswap/functions/a") is None


async def test_a_mirror_keeps_the_last_good_value_until_a_good_one_comes(store: Store) -> None:
    await store.transaction().create(function("fn", "good")).commit()
    async with asyncio.timeout(LIMIT), mirrored(store.functions) as mirror:
        key = "/hotswap/functions/fn"
        await store.kv.commit(require=[], write=[Put(key, b"{}")])
        assert "is missing" in await mirror.until(lambda it: it.broken.get(key))
        assert (found := mirror.get(key)) is not None
        assert found.value.description == "good"
        await store.transaction().announce(function("fn", "better"), lease=0).commit()
        await mirror.until(lambda it: not it.broken)
        assert (found := mirror.get(key)) is not None
        assert found.value.description == "better"


async def test_a_mirror_of_a_folder_leaves_out_the_rest(store: Store) -> None:
    here = Assignment(node="n1", function="fn", versions={1: 2})
    await store.transaction().create(here).create(Assignment(node="n10", function="fn", versions={1: 1})).commit()
    async with asyncio.timeout(LIMIT), mirrored(store.assignments, "n1") as mirror:
        assert [(one.value.node, one.value.versions) for one in mirror] == [("n1", {1: 2})]


async def test_what_is_raised_beside_a_mirror_is_not_wrapped(store: Store) -> None:
    with pytest.raises(errors.Refused, match="not now"):
        async with mirrored(store.functions), mirrored(store.aliases):
            raise errors.Refused("not now")
