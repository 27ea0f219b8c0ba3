"""Throws away the archives that no version names any more. The leader's.

An archive is in the store before its version is created, so what nobody names may be about to be named. It is left
alone for a day; then the digests that are to go are written down first, in the one value that each creation of a
version requires to stand as it was read. A version that comes before that is seen here; one that comes after is not
created, unless its archive has been looked for again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from msgspec.structs import replace

from controller.artifacts.store import ArtifactStore
from controller.means import Clock
from hotswap import errors, kv
from hotswap.model import Sweep
from hotswap.store import Fence, Store

log = logging.getLogger(__name__)

GRACE = timedelta(days=1)
EVERY = 3600.0
"""Seconds from one look to the next."""
AT_ONCE = 1000
"""Archives that one round throws away; 65 bytes of the value for each."""


class Collector:
    def __init__(self, *, store: Store, fence: Fence, artifacts: ArtifactStore, clock: Clock) -> None:
        self._store = store
        self._fence = fence
        self._artifacts = artifacts
        self._clock = clock

    async def run(self) -> None:
        """Never returns. Raises `NotLeader`."""
        while True:
            try:
                await self.collect()
            except errors.NotLeader:
                raise
            except (errors.HotswapError, kv.KVError, OSError) as error:
                log.warning("artifacts that nobody names are not thrown away yet: %s", error)
            await asyncio.sleep(EVERY)

    async def collect(self) -> list[str]:
        """The digests of what was thrown away."""
        left = await self._store.sweeps.get(Sweep.SUBJECT)
        begun = left.value.condemned if left else []
        old = sorted({*begun, *await self._unnamed()})
        return await self._throw_away(old) if old else []

    async def _unnamed(self) -> list[str]:
        """None where there are no versions at all: then it is another etcd than the one that the archives belong to."""
        named, before = await self._named(), self._clock() - GRACE
        if not named:
            return []
        found = [kept.sha256 async for kept in self._artifacts.all() if kept.since < before]
        return [sha256 for sha256 in found if sha256 not in named][:AT_ONCE]

    async def _throw_away(self, old: list[str]) -> list[str]:
        await self._write(old)
        named = await self._named()
        gone = [sha256 for sha256 in old if sha256 not in named]
        for sha256 in gone:
            await self._artifacts.delete(sha256)
        await self._write([])
        log.info("threw away %d artifacts that no version names", len(gone))
        return gone

    async def _write(self, condemned: list[str]) -> None:
        stored = await self._store.sweeps.get(Sweep.SUBJECT)
        sweep = replace(stored.value if stored else Sweep(), condemned=condemned)
        await self._store.transaction(self._fence).put(sweep, over=stored).commit()

    async def _named(self) -> set[str]:
        return {stored.value.artifact for stored in await self._store.versions.list()}


@asynccontextmanager
async def collecting(*, store: Store, fence: Fence, artifacts: ArtifactStore, clock: Clock) -> AsyncIterator[None]:
    """Until the context ends, or ends it: with `NotLeader` (in a group) when somebody else leads."""
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(
            Collector(store=store, fence=fence, artifacts=artifacts, clock=clock).run(), name="collector"
        )
        try:
            yield
        finally:
            work.cancel()
