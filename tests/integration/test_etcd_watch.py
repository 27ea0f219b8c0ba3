"""A watch bridges whatever happens between it and etcd: cuts, restarts, compaction, hangs, answers too large."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from hotswap.etcd import EtcdKV, connect
from hotswap.etcd.connection import Connection
from hotswap.etcd.local import LocalEtcd, running
from hotswap.etcd.wire.rpc_pb2 import WatchCreateRequest, WatchRequest
from hotswap.kv import Batch, Delete, Deleted, Item, Put
from hotswap.settings import EtcdSettings
from tests.conditions import eventually
from tests.etcd_admin import Admin
from tests.tcp_proxy import Proxy, proxied

LIMIT = 30
"""Seconds for anything here but a frozen etcd."""
FROZEN_LIMIT = 30
AT_ONCE = 50
"""Writes under way at the same time."""


@pytest_asyncio.fixture
async def proxy(etcd: EtcdSettings) -> AsyncIterator[Proxy]:
    async with proxied(etcd.endpoints[0]) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def direct(etcd: EtcdSettings) -> AsyncIterator[EtcdKV]:
    kv = connect(etcd)
    yield kv
    await kv.close()


@pytest_asyncio.fixture
async def behind(proxy: Proxy) -> AsyncIterator[EtcdKV]:
    """A client that reaches etcd only through the proxy."""
    kv = connect(EtcdSettings(endpoints=(proxy.address,)))
    yield kv
    await kv.close()


async def put(kv: EtcdKV, key: str, value: bytes) -> int:
    return await kv.commit(require=[], write=[Put(key, value)])


async def numbers(batches: AsyncIterator[Batch], *, end: int) -> list[int]:
    """The values told, up to the last."""
    seen: list[int] = []
    async for batch in batches:
        assert not batch.whole
        assert batch.revision == batch.changes[-1].mod_revision
        seen += [int(change.value) for change in batch.changes if isinstance(change, Item)]
        if seen[-1] == end:
            break
    return seen


async def test_after_a_cut_it_goes_on_where_it_was(proxy: Proxy, behind: EtcdKV, direct: EtcdKV) -> None:
    async with asyncio.timeout(LIMIT), behind.watch("/t/") as batches:
        await anext(batches)
        await put(direct, "/t/n", b"0")
        assert await numbers(batches, end=0) == [0]
        await proxy.close()
        for number in range(1, 20):
            await put(direct, "/t/n", b"%d" % number)
        await proxy.listen()
        assert await numbers(batches, end=19) == list(range(1, 20))


async def test_a_cut_while_it_catches_up_loses_nothing(proxy: Proxy, behind: EtcdKV, direct: EtcdKV) -> None:
    """etcd catches up by 1,000 revisions at a time, each time with the latest revision in the header."""
    async with asyncio.timeout(LIMIT), behind.watch("/t/") as batches:
        await anext(batches)
        await proxy.close()
        for begin in range(0, 2_500, AT_ONCE):
            await asyncio.gather(*(put(direct, f"/t/{n}", b"%d" % n) for n in range(begin, begin + AT_ONCE)))
        await proxy.listen()
        first = await anext(batches)
        await proxy.cut()
        told = [change for change in first.changes if isinstance(change, Item)]
        assert len(told) < 2_500
        while len(told) < 2_500:
            told += [change for change in (await anext(batches)).changes if isinstance(change, Item)]
    revisions = [change.mod_revision for change in told]
    assert revisions == list(range(revisions[0], revisions[0] + 2_500))
    assert sorted(int(change.value) for change in told) == list(range(2_500))


async def test_after_a_compaction_only_differences_are_told(
    proxy: Proxy, behind: EtcdKV, direct: EtcdKV, etcd: EtcdSettings, caplog: pytest.LogCaptureFixture
) -> None:
    for key in ("/t/same", "/t/changed", "/t/gone", "/t/again"):
        await put(direct, key, b"1")
    async with asyncio.timeout(LIMIT), behind.watch("/t/") as batches:
        await anext(batches)
        await proxy.close()
        await direct.commit(require=[], write=[Delete("/t/gone"), Delete("/t/again")])
        again = await put(direct, "/t/again", b"2")
        created = await put(direct, "/t/new", b"2")
        changed = await put(direct, "/t/changed", b"2")
        Admin(etcd.endpoints[0]).compact(changed)
        with caplog.at_level(logging.INFO, logger="hotswap.etcd.watch"):
            await proxy.listen()
            batch = await anext(batches)
        assert "lists again: etcd has compacted up to" in caplog.text
        after = await put(direct, "/t/same", b"3")
        assert (await anext(batches)).revision == after
    assert not batch.whole
    assert [(change.key, change.mod_revision) for change in batch.changes] == [
        ("/t/again", again),
        ("/t/new", created),
        ("/t/changed", changed),
        ("/t/gone", changed),
    ]
    assert isinstance(batch.changes[-1], Deleted)


async def test_a_compaction_that_hid_nothing_tells_nothing(
    proxy: Proxy, behind: EtcdKV, direct: EtcdKV, etcd: EtcdSettings
) -> None:
    await put(direct, "/t/a", b"0")
    async with asyncio.timeout(LIMIT), behind.watch("/t/") as batches:
        await anext(batches)
        await proxy.close()
        for _ in range(3):
            elsewhere = await put(direct, "/other", b"")
        Admin(etcd.endpoints[0]).compact(elsewhere)
        await proxy.listen()
        await put(direct, "/t/a", b"1")
        assert await numbers(batches, end=1) == [1]


async def test_it_outlives_a_restart_of_etcd(private_etcd: LocalEtcd) -> None:
    kv = connect(EtcdSettings(endpoints=(private_etcd.endpoint,)))
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        await anext(batches)
        for number in range(3):
            await private_etcd.kill()
            await private_etcd.start()
            await put(kv, "/t/n", b"%d" % number)
            assert await numbers(batches, end=number) == [number]
    await kv.close()


async def test_it_waits_for_an_etcd_that_is_not_there_yet(private_etcd: LocalEtcd) -> None:
    await private_etcd.stop()
    kv = connect(EtcdSettings(endpoints=(private_etcd.endpoint,)))
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        first = asyncio.ensure_future(anext(batches))
        await private_etcd.start()
        assert (await first).whole
    await kv.close()


async def test_a_frozen_etcd_is_noticed(private_etcd: LocalEtcd, caplog: pytest.LogCaptureFixture) -> None:
    """By the pings of the connection alone: no request is on its way, and the silence of an hour is allowed."""
    kv = EtcdKV(EtcdSettings(endpoints=(private_etcd.endpoint,)), progress_interval=1_000)
    async with asyncio.timeout(FROZEN_LIMIT), kv.watch("/t/") as batches:
        await anext(batches)
        waiting = asyncio.ensure_future(anext(batches))
        with caplog.at_level(logging.WARNING, logger="hotswap.etcd.watch"):
            while await _is_quiet(caplog, waiting):
                private_etcd.freeze()
        private_etcd.thaw()
        await put(kv, "/t/n", b"1")
        assert [change.key for change in (await waiting).changes] == ["/t/n"]
    await kv.close()


async def _is_quiet(caplog: pytest.LogCaptureFixture, waiting: asyncio.Future[Batch]) -> bool:
    await asyncio.wait({waiting}, timeout=0.05)
    return "the watch of /t/ is interrupted" not in caplog.text


async def test_a_silent_stream_is_given_up_for_another_member(proxy: Proxy, direct: EtcdKV, etcd: EtcdSettings) -> None:
    both = EtcdSettings(endpoints=(proxy.address, etcd.endpoints[0]))
    kv = EtcdKV(both, progress_interval=0.1)
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        await anext(batches)
        await put(direct, "/t/n", b"0")
        assert await numbers(batches, end=0) == [0]
        assert proxy.accepted
        proxy.hold_answers()
        await put(direct, "/t/n", b"1")
        assert await numbers(batches, end=1) == [1]
    await kv.close()


async def test_a_quiet_stream_is_kept(proxy: Proxy, direct: EtcdKV) -> None:
    kv = EtcdKV(EtcdSettings(endpoints=(proxy.address,)), progress_interval=0.02)
    async with asyncio.timeout(LIMIT), kv.watch("/t/") as batches:
        await anext(batches)
        waiting = asyncio.ensure_future(anext(batches))
        before, accepted = proxy.answers, proxy.accepted
        while proxy.answers < before + 20:
            await asyncio.wait({waiting}, timeout=0.02)
        await put(direct, "/t/n", b"1")
        assert [change.key for change in (await waiting).changes] == ["/t/n"]
        assert proxy.accepted <= accepted + 1
    await kv.close()


async def test_a_quiet_watch_keeps_up_with_the_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By timed progress responses: after a cut it need not list again, though all it knew of is compacted."""
    interval = ("--experimental-watch-progress-notify-interval", "100ms")
    async with running(tmp_path / "etcd", options=interval) as server, proxied(server.endpoint) as proxy:
        direct, behind = (connect(EtcdSettings(endpoints=(to,))) for to in (server.endpoint, proxy.address))
        async with asyncio.timeout(LIMIT), behind.watch("/t/") as batches:
            await anext(batches)
            waiting = asyncio.ensure_future(anext(batches))
            await put(direct, "/t/n", b"0")
            await waiting
            waiting = asyncio.ensure_future(anext(batches))
            for _ in range(10):
                latest = await put(direct, "/other", b"")
            before = proxy.answers
            await eventually(lambda: proxy.answers >= before + 3)
            await proxy.close()
            Admin(server.endpoint).compact(latest)
            with caplog.at_level(logging.INFO, logger="hotswap.etcd.watch"):
                await proxy.listen()
                after = await put(direct, "/t/n", b"1")
                assert (await waiting).revision == after
        assert "lists again" not in caplog.text
        await direct.close()
        await behind.close()


async def test_a_response_that_comes_in_fragments_is_told_whole(
    proxy: Proxy, behind: EtcdKV, direct: EtcdKV, etcd: EtcdSettings
) -> None:
    async with asyncio.timeout(LIMIT), behind.watch("/t/") as batches:
        first = await anext(batches)
        await proxy.close()
        for letter in b"abcdef":
            big = bytes([letter]) * 450_000
            await direct.commit(require=[], write=[Put(f"/t/{key}", big) for key in "123"])
        await proxy.listen()
        assert await _fragments(etcd.endpoints[0], first.revision + 1) > 0
        told: list[Item | Deleted] = []
        while len(told) < 18:
            batch = await anext(batches)
            assert len(batch.changes) % 3 == 0
            told += batch.changes
    assert [(one.key, one.value[:1]) for one in told if isinstance(one, Item)] == [
        (f"/t/{key}", bytes([letter])) for letter in b"abcdef" for key in "123"
    ]


async def _fragments(endpoint: str, start: int) -> int:
    """How many fragments etcd makes of its answer to this very watch."""
    connection = Connection(endpoint, None)
    create = WatchCreateRequest(key=b"/t/", range_end=b"/t0", start_revision=start, fragment=True)
    call = connection.watch.Watch(_one(WatchRequest(create_request=create)))
    fragments = events = 0
    async for response in call:
        fragments += response.fragment
        events += len(response.events)
        if events == 18:
            break
    call.cancel()
    await connection.channel.close(grace=None)
    return fragments


def _one(request: WatchRequest) -> Iterator[WatchRequest]:
    yield request


async def test_watches_share_a_connection_that_calls_do_not_use(proxy: Proxy, behind: EtcdKV) -> None:
    async with asyncio.timeout(LIMIT), behind.watch("/t/a/") as one, behind.watch("/t/b/") as other:
        await put(behind, "/t/a/n", b"1")
        assert proxy.accepted == 1
        for batches in (one, other):
            await anext(batches)
        following = [asyncio.ensure_future(anext(batches)) for batches in (one, other)]
        for folder in "ab":
            await put(behind, f"/t/{folder}/n", b"2")
        await asyncio.gather(*following)
        assert proxy.accepted == 2


async def test_many_watches_at_once(behind: EtcdKV, direct: EtcdKV) -> None:
    async def follow(folder: int) -> list[int]:
        async with behind.watch(f"/t/{folder}/") as batches:
            await anext(batches)
            return await numbers(batches, end=9)

    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(follow(folder)) for folder in range(20)]
        while not all(one.done() for one in following):
            await asyncio.sleep(0)
            for folder in range(20):
                await put(direct, f"/t/{folder}/n", b"9")
    assert all(set(one.result()) == {9} for one in following)
