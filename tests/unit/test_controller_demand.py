"""What is invoked by its number and runs nowhere is lent a place, for as long as it is used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from controller import demand
from controller.demand import Demand
from hotswap.errors import Unavailable
from hotswap.memory import MemoryKV
from hotswap.metrics import Count, CounterRow, Counters, Lacking, Named, Tally
from hotswap.mirror import mirrored
from hotswap.model import Kind, Manifest, Router, Version
from hotswap.store import Store
from tests.conditions import eventually


class Scene:
    """A router, what it tells, and what is lent."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tell: asyncio.Queue[list[int]] = asyncio.Queue()
        self.lent: list[int] = []
        self.history: list[int] = []
        """Of all that ever were."""
        self.invocations = 0
        self.in_flight = 0
        self.away = False
        self.counted = 0
        """How often the counts were asked for."""

    async def lacking(self, router: Router) -> Lacking:
        return Lacking(versions=[Named(function="fn", version=number) for number in await self.tell.get()])

    async def counters(self, function: str) -> list[Counters]:
        self.counted += 1
        if self.away:
            raise Unavailable("the router is away")
        counts = Tally.zero().counts
        counts[Count.OK] = self.invocations
        row = CounterRow(
            function=function,
            alias="",
            version=1,
            alias_revision=0,
            tally=Tally(counts=counts),
            in_flight=self.in_flight,
        )
        return [Counters(router="r1", boot="1", rows=[row])]

    def lend(self, function: str, version: int) -> None:
        assert function == "fn"
        self.lent.append(version)
        self.history.append(version)

    def take_back(self, function: str, version: int) -> None:
        assert function == "fn"
        self.lent.remove(version)

    async def publish(self, *numbers: int) -> None:
        manifest = Manifest(function="fn", kind=Kind.HANDLER, entrypoint="app:handler")
        for number in numbers:
            version = Version(
                function="fn", number=number, artifact="", size=1, manifest=manifest, published=datetime.now(UTC)
            )
            await self.store.transaction().create(version).commit()


@asynccontextmanager
async def demanded(*published: int) -> AsyncIterator[Scene]:
    scene = Scene(Store(MemoryKV()))
    await scene.publish(*published)
    await scene.store.transaction().announce(Router(name="r1", address="", admin="", boot="1"), lease=0).commit()
    async with mirrored(scene.store.routers) as routers:
        made = Demand(store=scene.store, routers=routers, admin=scene, counters=scene.counters, placement=scene)
        work = asyncio.create_task(made.run())
        try:
            yield scene
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lent is looked at often, and its time is over at once."""
    for name in ("KEPT", "LOOK_EVERY", "PAUSE"):
        monkeypatch.setattr(demand, name, 0.01)


async def test_what_a_router_tells_is_lent_a_place_once() -> None:
    async with demanded(1, 2) as scene:
        scene.tell.put_nowait([2])
        scene.tell.put_nowait([2, 1])
        await eventually(lambda: scene.lent == [2, 1])


@pytest.mark.usefixtures("short")
async def test_what_nobody_uses_is_taken_back_and_lent_again_when_it_is_told_again() -> None:
    async with demanded(1) as scene:
        for times in (1, 2):
            scene.tell.put_nowait([1])
            await eventually(lambda: len(scene.history) == times and not scene.lent)  # noqa: B023 - called here


@pytest.mark.usefixtures("short")
async def test_what_is_used_stays() -> None:
    async with demanded(1) as scene:
        scene.in_flight = 1
        scene.tell.put_nowait([1])
        await eventually(lambda: scene.counted >= 3)
        assert scene.lent == [1]
        scene.away = True
        counted = scene.counted
        await eventually(lambda: scene.counted >= counted + 3)
        assert scene.lent == [1]
        scene.away, scene.in_flight, scene.invocations = False, 0, 1
        await eventually(lambda: not scene.lent)


async def test_what_was_unpublished_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "LOOK_EVERY", 0.01)
    async with demanded(1, 2) as scene:
        scene.tell.put_nowait([1, 2])
        await eventually(lambda: scene.lent == [1, 2])
        stored = await scene.store.versions.get("fn", 1)
        assert stored
        await scene.store.transaction().delete(stored).commit()
        await eventually(lambda: scene.lent == [2])


async def test_of_too_many_the_one_that_was_told_longest_ago_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "MOST", 2)
    monkeypatch.setattr(demand, "PAUSE", 0.01)
    async with demanded(1, 2, 3) as scene:
        for told in ([1], [2], [1], [3]):
            scene.tell.put_nowait(told)
        await eventually(lambda: scene.lent == [1, 3])
