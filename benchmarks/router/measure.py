"""One round: load, warm up, look, wait, look again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.router.backend import Backend, Count
from benchmarks.router.case import Case
from benchmarks.router.figures import Memory, Round, Snapshot, measured
from benchmarks.router.load import loading
from benchmarks.router.process import Unusable
from benchmarks.router.proxies import Proxy
from benchmarks.router.streams import Sources, listening

WARM_REQUESTS = 3
"""On each connection, on the average, before anything is measured: then all are made, on either side."""
WARM_LIMIT = 20.0
"""Seconds for that."""
LOOK_EVERY = 0.1

Counting = Callable[[], Awaitable[Count]]


@dataclass(frozen=True)
class Pace:
    rounds: int
    warm_up: float
    """Seconds at least."""
    window: float
    """Seconds."""


FULL = Pace(rounds=5, warm_up=1.0, window=3.0)
QUICK = Pace(rounds=1, warm_up=0.4, window=1.0)


@dataclass(frozen=True)
class Bench:
    """What all rounds use."""

    folder: Path
    backends: list[Backend]
    sources: Sources
    pace: Pace

    async def round(self, case: Case, proxy: Proxy) -> Round:
        return await (self._events(case, proxy) if case.streams else self._requests(case, proxy))

    async def _requests(self, case: Case, proxy: Proxy) -> Round:
        url = f"http://127.0.0.1:{proxy.port}{case.target}"
        before = await self._counts()
        async with loading(case, url, self.folder) as load:
            shared = await self._warmed(case, before)
            first = await snapshot(proxy, self._count)
            await asyncio.sleep(self.pace.window)
            second = await snapshot(proxy, self._count)
            memory = Memory(proxy.tree.serving_mib(), proxy.tree.parents_mib())
            if not load.running:
                raise Unusable("the load ended by itself")
        found = measured(first, second, report=load.report, memory=memory, shared=shared)
        return replace(found, waiting=case.connections)

    async def _events(self, case: Case, proxy: Proxy) -> Round:
        async with listening(case, proxy.port) as heard:

            async def count() -> Count:
                return Count(0, heard.events)

            await asyncio.sleep(self.pace.warm_up)
            heard.latencies.clear()
            shared = self.sources.shares()
            first = await snapshot(proxy, count)
            await asyncio.sleep(self.pace.window)
            second = await snapshot(proxy, count)
            memory = Memory(proxy.tree.serving_mib(), proxy.tree.parents_mib())
        return measured(first, second, report=heard.report(), memory=memory, shared=shared)

    async def _warmed(self, case: Case, before: list[Count]) -> list[int]:
        """Requests by backend during the warm-up."""
        async with asyncio.timeout(WARM_LIMIT):
            await asyncio.sleep(self.pace.warm_up)
            enough = case.connections * WARM_REQUESTS
            while sum(shared := await self._since(before)) < enough:  # noqa: ASYNC110 - nothing is measured yet
                await asyncio.sleep(LOOK_EVERY)
        return shared

    async def _since(self, before: list[Count]) -> list[int]:
        return [(now - then).requests for now, then in zip(await self._counts(), before, strict=True)]

    async def _counts(self) -> list[Count]:
        return [await backend.count() for backend in self.backends]

    async def _count(self) -> Count:
        return sum(await self._counts(), Count(0, 0))


async def snapshot(proxy: Proxy, count: Counting) -> Snapshot:
    used_at, usage, core = time.monotonic(), proxy.tree.usage(), proxy.tree.core_seconds()
    counted = await count()
    return Snapshot(used_at, usage, time.monotonic(), counted, core)
