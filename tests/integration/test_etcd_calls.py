"""Unary calls: each ends in time, goes to a member that answers, and never makes a mutation twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest
import pytest_asyncio

from hotswap import kv
from hotswap.errors import Invalid
from hotswap.etcd import EtcdKV, calls, client, connect, local
from hotswap.etcd.local import Binary, LocalEtcd
from hotswap.settings import EtcdSettings
from tests.conditions import eventually
from tests.etcd_admin import Admin
from tests.tcp_proxy import Proxy, proxied

LIMIT = 15
"""Seconds for anything here."""
NOBODY = "127.0.0.1:1"
"""Port 1 is nobody's."""


@pytest_asyncio.fixture
async def proxy(etcd: EtcdSettings) -> AsyncIterator[Proxy]:
    async with proxied(etcd.endpoints[0]) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def direct(etcd: EtcdSettings) -> AsyncIterator[EtcdKV]:
    store = connect(etcd)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def behind(proxy: Proxy) -> AsyncIterator[EtcdKV]:
    """A client that reaches etcd only through the proxy, and is connected."""
    store = connect(EtcdSettings(endpoints=(proxy.address,)))
    await store.get("/t/")
    yield store
    await store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second is enough for a call that must fail."""
    monkeypatch.setattr(calls, "CALL_LIMIT", 0.5)


Operation = Callable[[EtcdKV], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "get": lambda store: store.get("/t/a"),
    "range": lambda store: store.range("/t/"),
    "commit": lambda store: store.commit(require=[], write=[kv.Put("/t/a", b"1")]),
    "grant": lambda store: store.grant(timedelta(seconds=10)),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.usefixtures("impatient")
async def test_where_nobody_listens_every_call_says_so_in_time(operation: Operation) -> None:
    store = connect(EtcdSettings(endpoints=(NOBODY,)))
    async with asyncio.timeout(LIMIT):
        with pytest.raises(kv.Unreachable, match=r"etcd at 127\.0\.0\.1:1 does not answer: .*Connection refused"):
            await operation(store)
    await store.close()


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.usefixtures("impatient")
async def test_where_etcd_hangs_every_call_says_so_in_time(operation: Operation, proxy: Proxy, behind: EtcdKV) -> None:
    proxy.hold_requests()
    async with asyncio.timeout(LIMIT):
        with pytest.raises(kv.Unreachable, match="does not answer in time"):
            await operation(behind)


@pytest.mark.usefixtures("impatient")
async def test_a_frozen_etcd_is_answered_for_in_time(private_etcd: LocalEtcd) -> None:
    store = connect(EtcdSettings(endpoints=(private_etcd.endpoint,)))
    async with asyncio.timeout(LIMIT):
        await store.get("/t/a")
        private_etcd.freeze()
        with pytest.raises(kv.Unreachable):
            await store.get("/t/a")
        private_etcd.thaw()
        while not await _answers(store):
            pass
    await store.close()


async def _answers(store: EtcdKV) -> bool:
    try:
        await store.get("/t/a")
    except kv.Unreachable:
        return False
    return True


async def test_a_call_waits_for_an_etcd_that_is_about_to_be_back(private_etcd: LocalEtcd) -> None:
    store = connect(EtcdSettings(endpoints=(private_etcd.endpoint,)))
    async with asyncio.timeout(LIMIT):
        await store.commit(require=[], write=[kv.Put("/t/a", b"1")])
        await private_etcd.kill()
        asking = asyncio.ensure_future(store.get("/t/a"))
        await private_etcd.start()
        item = await asking
    assert item
    assert item.value == b"1"
    await store.close()


async def test_a_member_that_is_dead_is_passed_over(etcd: EtcdSettings) -> None:
    store = connect(EtcdSettings(endpoints=(NOBODY, etcd.endpoints[0])))
    async with asyncio.timeout(LIMIT):
        await store.commit(require=[], write=[kv.Put("/t/a", b"1")])
        assert await store.get("/t/a")
        async with store.watch("/t/") as batches:
            assert (await anext(batches)).whole
        await (await store.grant(timedelta(seconds=10))).revoke()
    await store.close()


async def test_a_read_goes_to_another_member_when_the_first_hangs(
    proxy: Proxy, etcd: EtcdSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "CALL_LIMIT", 3)
    store = connect(EtcdSettings(endpoints=(proxy.address, etcd.endpoints[0])))
    async with asyncio.timeout(LIMIT):
        while not proxy.answers:
            await store.get("/t/a")
        proxy.hold_answers()
        assert await store.get("/t/a") is None
    await store.close()


async def test_a_transaction_whose_answer_is_lost_is_decided_by_reading_back(
    proxy: Proxy, behind: EtcdKV, direct: EtcdKV
) -> None:
    async with asyncio.timeout(LIMIT):
        proxy.hold_answers()
        write: list[kv.Write] = [kv.Put("/t/a", b"unique"), kv.Delete("/t/b")]
        committing = asyncio.ensure_future(behind.commit(require=[kv.Absent("/t/a")], write=write))
        await proxy.holds.wait()
        made = await direct.get("/t/a")
        assert made
        await proxy.cut()
        assert await committing == made.mod_revision == made.create_revision


async def test_a_transaction_that_never_arrived_is_not_claimed_and_not_sent_again(
    proxy: Proxy, behind: EtcdKV, direct: EtcdKV
) -> None:
    async with asyncio.timeout(LIMIT):
        before = (await direct.range("/t/")).revision
        proxy.hold_requests()
        committing = asyncio.ensure_future(behind.commit(require=[], write=[kv.Put("/t/a", b"unique")]))
        await proxy.holds.wait()
        await proxy.cut()
        with pytest.raises(kv.Unreachable, match="whether the write was made is not known"):
            await committing
        assert (await direct.range("/t/")).revision == before


async def test_a_value_that_another_has_written_over_is_not_claimed(
    proxy: Proxy, behind: EtcdKV, direct: EtcdKV
) -> None:
    async with asyncio.timeout(LIMIT):
        proxy.hold_answers()
        committing = asyncio.ensure_future(behind.commit(require=[], write=[kv.Put("/t/a", b"mine")]))
        await proxy.holds.wait()
        await direct.commit(require=[], write=[kv.Put("/t/a", b"another's")])
        await proxy.cut()
        with pytest.raises(kv.Unreachable, match="not known"):
            await committing


async def test_a_deletion_whose_answer_is_lost_is_not_claimed(proxy: Proxy, behind: EtcdKV, direct: EtcdKV) -> None:
    """There is no value to read back; deleting again is safe."""
    async with asyncio.timeout(LIMIT):
        await direct.commit(require=[], write=[kv.Put("/t/a", b"1")])
        proxy.hold_answers()
        committing = asyncio.ensure_future(behind.commit(require=[], write=[kv.Delete("/t/a")]))
        await proxy.holds.wait()
        await proxy.cut()
        with pytest.raises(kv.Unreachable, match="not known"):
            await committing
        while not await _answers(behind):
            pass
        await behind.commit(require=[], write=[kv.Delete("/t/a")])


async def test_an_etcd_killed_in_the_middle_leaves_no_doubt_unresolved(private_etcd: LocalEtcd) -> None:
    """Each number is written once or is reported as not known; what was acknowledged is there."""
    store = connect(EtcdSettings(endpoints=(private_etcd.endpoint,)))
    acknowledged: dict[int, int] = {}

    async def write(number: int) -> None:
        key = f"/t/{number}"
        with suppress(kv.Unreachable):
            acknowledged[number] = await store.commit(require=[kv.Absent(key)], write=[kv.Put(key, b"%d" % number)])

    async with asyncio.timeout(LIMIT):
        await store.get("/t/")
        writing = asyncio.gather(*map(write, range(300)))
        await eventually(lambda: len(acknowledged) >= 20)
        await private_etcd.kill()
        await private_etcd.start()
        await writing
        there = {item.key: item.mod_revision for item in (await store.range("/t/")).items}
    assert all(there[f"/t/{number}"] == revision for number, revision in acknowledged.items())
    await store.close()


async def test_a_large_range_is_read_at_one_revision(direct: EtcdKV, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same round number is in all keys; while it is counted up, no listing may mix two."""
    monkeypatch.setattr(client, "PAGE", 7)
    keys = [f"/t/{i:03}" for i in range(100)]

    async def write(number: int) -> None:
        await direct.commit(require=[], write=[kv.Put(key, b"%d" % number) for key in keys])

    await write(0)
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as tasks:
        for number in range(1, 30):
            writing = tasks.create_task(write(number))
            listing = await direct.range("/t/")
            assert [item.key for item in listing.items] == keys
            assert len({item.value for item in listing.items}) == 1
            await writing


async def test_a_range_is_begun_again_when_its_revision_is_compacted_between_two_pages(
    proxy: Proxy, behind: EtcdKV, direct: EtcdKV, etcd: EtcdSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAGE", 2)
    for number in range(5):
        await direct.commit(require=[], write=[kv.Put(f"/t/{number}", b"old")])
    async with asyncio.timeout(LIMIT):
        proxy.hold_answers()
        reading = asyncio.ensure_future(behind.range("/t/"))
        await proxy.holds.wait()
        for number in range(5):
            latest = await direct.commit(require=[], write=[kv.Put(f"/t/{number}", b"new")])
        Admin(etcd.endpoints[0]).compact(latest)
        proxy.let_go()
        listing = await reading
    assert [item.value for item in listing.items] == [b"new"] * 5
    assert listing.revision == latest


async def test_tens_of_thousands_of_keys(direct: EtcdKV) -> None:
    keys = [f"/t/{i:05}" for i in range(12_800)]
    async with asyncio.timeout(LIMIT):
        for start in range(0, len(keys), kv.MAX_OPERATIONS):
            await direct.commit(require=[], write=[kv.Put(key, b"") for key in keys[start : start + kv.MAX_OPERATIONS]])
        assert [item.key for item in (await direct.range("/t/")).items] == keys


async def test_what_etcd_refuses_is_told_in_its_words(direct: EtcdKV) -> None:
    with pytest.raises(kv.Unreachable, match="refuses: request is too large"):
        await direct.commit(require=[], write=[kv.Put("/t/a", bytes(2_000_000))])


async def test_a_client_that_was_closed_says_so(etcd: EtcdSettings) -> None:
    store = connect(etcd)
    await store.close()
    with pytest.raises(kv.Unreachable, match="has been closed"):
        await store.get("/t/a")


@pytest.mark.parametrize("find", [local.find, local.in_wheel])
async def test_every_release_that_we_can_find_is_understood(
    find: Callable[[], Binary | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = LocalEtcd(tmp_path_factory.mktemp("etcd") / "data", binary=find())
    await server.start()
    store = connect(EtcdSettings(endpoints=(server.endpoint,)))
    try:
        async with asyncio.timeout(LIMIT), store.watch("/t/") as batches:
            await anext(batches)
            lease = await store.grant(timedelta(seconds=10))
            revision = await store.commit(require=[kv.Absent("/t/a")], write=[kv.Put("/t/a", b"1", lease.id)])
            assert (await anext(batches)).changes == (kv.Item("/t/a", b"1", revision, revision, lease.id),)
            await lease.revoke()
            assert [change.key for change in (await anext(batches)).changes] == ["/t/a"]
    finally:
        await store.close()
        await server.stop()


async def test_settings_that_cannot_work_are_refused_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tls")
    with pytest.raises(Invalid, match=r"certificate authority .*missing\.pem cannot be read: No such file"):
        connect(EtcdSettings(ca=folder / "missing.pem"))
    with pytest.raises(Invalid, match="without a certificate authority"):
        connect(EtcdSettings(cert=folder / "cert.pem", key=folder / "key.pem"))
    with pytest.raises(Invalid, match="needs its key"):
        connect(EtcdSettings(ca=folder / "ca.pem", cert=folder / "cert.pem"))
