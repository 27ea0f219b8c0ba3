"""A cluster of three: one member may go at any time; a member that has lost the others is left."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from hotswap.etcd import EtcdKV, connect
from hotswap.etcd.local import LocalEtcd
from hotswap.kv import Put, Unreachable
from hotswap.settings import EtcdSettings
from tests.conditions import eventually
from tests.etcd_cluster import clustered

LIMIT = 30
"""Seconds for anything here."""


@pytest_asyncio.fixture
async def members(tmp_path: Path) -> AsyncIterator[list[LocalEtcd]]:
    async with clustered(tmp_path) as members:
        yield members


async def put(store: EtcdKV, value: int) -> int:
    """Until it is known to be written."""
    while True:
        try:
            return await store.commit(require=[], write=[Put("/t/n", b"%d" % value)])
        except Unreachable:
            continue


async def test_any_member_may_be_killed(members: list[LocalEtcd]) -> None:
    store = connect(EtcdSettings(endpoints=tuple(member.endpoint for member in members)))
    async with asyncio.timeout(LIMIT), store.watch("/t/") as batches:
        await anext(batches)
        lease = await store.grant(timedelta(seconds=10))
        await store.commit(require=[], write=[Put("/t/lives", b"", lease.id)])
        await anext(batches)
        for number, member in enumerate(members):
            await member.kill()
            revision = await put(store, number)
            while (await anext(batches)).revision < revision:
                pass
            await member.start()
        assert lease.deadline
        assert await store.get("/t/lives")
    await store.close()


async def test_a_watch_leaves_a_member_that_has_lost_the_others(
    members: list[LocalEtcd], caplog: pytest.LogCaptureFixture
) -> None:
    """The member still takes connections and answers pings: only what it says of its leader tells."""
    first, *others = members
    store = EtcdKV(EtcdSettings(endpoints=(first.endpoint,)), progress_interval=1_000)
    async with asyncio.timeout(LIMIT), store.watch("/t/") as batches:
        await anext(batches)
        waiting = asyncio.ensure_future(anext(batches))
        with caplog.at_level(logging.WARNING, logger="hotswap.etcd.watch"):
            for member in others:
                await member.kill()
            await eventually(lambda: "no leader" in caplog.text)
        await asyncio.gather(*(member.start() for member in others))
        await put(store, 1)
        assert [change.key for change in (await waiting).changes] == ["/t/n"]
    await store.close()
