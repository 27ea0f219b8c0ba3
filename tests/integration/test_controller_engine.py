"""The engine under faults: watchers that die are started again, and what no engine can outlive ends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from controller.engine import Engine
from controller.means import Clock, Means
from hotswap.deployment import Deployment, Leader, Retire, Start, Status, Test
from hotswap.errors import NotLeader, Unavailable
from hotswap.memory import MemoryKV
from hotswap.metrics import Counters
from hotswap.store import Fence
from tests.controller_platform import LIMIT, TTL, Platform, all_at_once, now, platform


class AnyPlace:
    """A placement where every version is at home at once; `faults` are raised first, and `None` hangs for ever."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)

    async def assign(self, function: str, step: Start) -> int:
        if self.faults:
            fault = self.faults.pop(0)
            if fault is None:
                await asyncio.Event().wait()
            else:
                raise fault
        return 1

    async def settle(self, function: str) -> int:
        return 1

    async def started(self, function: str, step: Start) -> int:
        return 1

    async def retired(self, function: str, step: Retire) -> None:
        return


class NoRouters:
    async def applied(self, subject: Literal["aliases", "endpoints"], revision: int) -> None:
        return

    async def counters(self, function: str) -> list[Counters]:
        return []


class NoTests:
    async def tested(self, deployment: Deployment, step: Test) -> str:
        return "there are none"


@asynccontextmanager
async def deploying(
    tmp_path: Path, *faults: Exception | None, clock: Clock = now
) -> AsyncIterator[tuple[Platform, str, Engine]]:
    """A deployment that waits for the engine."""
    async with platform(MemoryKV(), tmp_path, nodes=0, routers=0) as world:
        async with world.standing_by("c1") as api:
            name = await world.deploy(api, all_at_once(1))
        me = Leader(controller="c1", address="127.0.0.1:9", since=now())
        lease = await world.kv.grant(TTL)
        revision = await world.store.transaction().create(me, lease=lease.id).commit()
        means = Means(
            store=world.store,
            fence=Fence(world.store.key_of(me), revision),
            placement=AnyPlace(*faults),
            routers=NoRouters(),
            testing=NoTests(),
            clock=clock,
        )
        yield world, name, Engine(means)


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[None]:
    work = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@pytest.mark.parametrize("fault", [ZeroDivisionError("a fault of ours"), Unavailable("the store is away")])
async def test_a_watcher_outlives_faults_and_goes_on_where_it_was(tmp_path: Path, fault: Exception) -> None:
    async with deploying(tmp_path, fault) as (world, name, engine), running(engine):
        assert (await world.ended(name)).status is Status.SUCCEEDED


async def test_a_watcher_that_died_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with deploying(tmp_path, ZeroDivisionError("a fault of ours")) as (world, name, engine), running(engine):
        await world.ended(name)
    assert f"the watcher of {name} died" in caplog.text
    assert "a fault of ours" in caplog.text


async def test_a_lost_lead_ends_the_engine(tmp_path: Path) -> None:
    async with deploying(tmp_path, NotLeader("somebody else leads")) as (_, _, engine):
        with pytest.raises(ExceptionGroup) as ended:
            async with asyncio.timeout(LIMIT):
                await engine.run()
        assert ended.group_contains(NotLeader)


async def test_a_watcher_that_hangs_beyond_its_deadline_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("controller.engine.WATCH_EVERY", 0.05)
    monkeypatch.setattr("controller.engine.OVERDUE", timedelta())

    def late() -> datetime:
        """When the deadline of the first step is long over."""
        return now() + timedelta(hours=1)

    async with deploying(tmp_path, None, clock=late) as (world, name, engine), running(engine):
        assert (await world.ended(name)).status is Status.SUCCEEDED
    assert f"nothing was done about {name}" in caplog.text
