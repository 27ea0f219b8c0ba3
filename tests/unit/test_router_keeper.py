import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from hotswap.kv import Batch
from hotswap.memory import MemoryKV
from hotswap.model import Alias, Endpoint, Kind, Manifest, Version
from hotswap.store import Store
from router import snapshot
from router.channel import Begin
from router.keeper import Keeper
from router.rows import Rows
from router.workers import Workers
from tests.conditions import eventually


class HeldBack(MemoryKV):
    """Tells nothing of endpoints until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[Batch]]:
        if "endpoints" in prefix:
            await self.may.wait()
        async with super().watch(prefix) as batches:
            yield batches


async def filled(kv: MemoryKV) -> Store:
    store = Store(kv)
    manifest = Manifest(function="fn", kind=Kind.HTTP, entrypoint=["./run"])
    await (
        store.transaction()
        .create(Alias(function="fn", name="production", weights={1: 100}))
        .create(
            Version(function="fn", number=1, artifact="0", size=1, manifest=manifest, published=datetime.now(UTC)),
        )
        .create(Endpoint(function="fn", version=1, instance="a", node="n", address="127.0.0.1:9000", concurrency=1))
        .commit()
    )
    return store


async def test_half_a_table_is_neither_served_nor_written_to_the_disk(tmp_path: Path) -> None:
    kv = HeldBack()
    workers = Workers(listeners=[], begin=Begin(1, 1.0), rows=Rows(clock=time.monotonic))
    keeper = Keeper(folder=tmp_path, workers=workers)
    following = asyncio.create_task(keeper.follow(await filled(kv)))
    saving = asyncio.create_task(keeper.save())
    try:
        await eventually(lambda: keeper.table.revisions.aliases and keeper.table.revisions.versions)
        assert not workers.serving
        assert snapshot.load(tmp_path) is None
        kv.may.set()
        await eventually(lambda: workers.serving and snapshot.load(tmp_path) == keeper.table)
        assert keeper.table.entry("endpoints", "fn", "1/a")
    finally:
        following.cancel()
        saving.cancel()
        await asyncio.wait([following, saving])
