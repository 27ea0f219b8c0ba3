"""Every router that lives is asked what fails, and what it tells leads to a look."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from controller.alarms import TOGETHER, Alarms
from hotswap.errors import Unavailable
from hotswap.memory import MemoryKV
from hotswap.metrics import Counters, Failing, Failure, Lacking
from hotswap.mirror import mirrored
from hotswap.model import Router
from hotswap.store import Store
from tests.conditions import eventually


def failure(version: int) -> Failure:
    return Failure(function="fn", alias="production", version=version)


class Admin:
    """Routers that tell what is put in; asked for the look that they told last."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int]] = []
        """By name, boot and look."""
        self.tell: defaultdict[str, asyncio.Queue[Failing | Unavailable]] = defaultdict(asyncio.Queue)

    async def failing(self, router: Router, since: int) -> Failing:
        self.asked.append((router.name, router.boot, since))
        answer = await self.tell[router.name].get()
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    async def applied(self, router: Router, subject: Literal["aliases", "endpoints"], revision: int) -> bool:
        raise AssertionError("not asked")

    async def counters(self, router: Router, function: str) -> Counters:
        raise AssertionError("not asked")

    async def lacking(self, router: Router) -> Lacking:
        raise AssertionError("not asked")


class Scene:
    def __init__(self, store: Store, admin: Admin) -> None:
        self.store = store
        self.admin = admin
        self.heard: list[Failure] = []
        self.bursts: list[int] = []
        """How many were heard each time before others came to do something."""
        self._burst = 0

    def alarm(self, failure: Failure) -> int:
        if not self._burst:
            asyncio.get_running_loop().call_soon(self._others)
        self._burst += 1
        self.heard.append(failure)
        return 1

    def _others(self) -> None:
        self.bursts.append(self._burst)
        self._burst = 0

    async def announce(self, name: str, *, boot: str = "1") -> None:
        router = Router(name=name, address="", admin=name, boot=boot)
        await self.store.transaction().announce(router, lease=0).commit()

    async def leave(self, name: str) -> None:
        stored = await self.store.routers.get(name)
        assert stored
        await self.store.transaction().delete(stored).commit()


@asynccontextmanager
async def alarmed() -> AsyncIterator[Scene]:
    store, admin = Store(MemoryKV()), Admin()
    scene = Scene(store, admin)
    async with mirrored(store.routers) as routers:
        work = asyncio.create_task(Alarms(routers, admin, scene.alarm).run())
        try:
            yield scene
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def test_what_each_router_tells_is_heard_and_each_is_asked_for_what_comes_after() -> None:
    async with alarmed() as scene:
        for name in ("r1", "r2"):
            await scene.announce(name)
        scene.admin.tell["r1"].put_nowait(Failing(look=7, failures=[failure(2)]))
        scene.admin.tell["r2"].put_nowait(Failing(look=3, failures=[failure(3)]))
        await eventually(lambda: {("r1", "1", 7), ("r2", "1", 3)} <= set(scene.admin.asked))
        assert sorted(it.version for it in scene.heard) == [2, 3]


async def test_a_router_that_does_not_answer_is_asked_again_and_holds_up_no_other() -> None:
    async with alarmed() as scene:
        await scene.announce("r1")
        scene.admin.tell["r1"].put_nowait(Unavailable("away"))
        await eventually(lambda: scene.admin.asked == [("r1", "1", 0)])
        await scene.announce("r2")
        scene.admin.tell["r2"].put_nowait(Failing(look=1, failures=[failure(3)]))
        await eventually(lambda: [it.version for it in scene.heard] == [3])
        await eventually(lambda: scene.admin.asked.count(("r1", "1", 0)) == 2)


async def test_one_that_was_started_again_is_asked_from_the_beginning() -> None:
    async with alarmed() as scene:
        await scene.announce("r1")
        scene.admin.tell["r1"].put_nowait(Failing(look=7, failures=[]))
        await eventually(lambda: ("r1", "1", 7) in scene.admin.asked)
        await scene.announce("r1", boot="2")
        scene.admin.tell["r1"].put_nowait(Failing(look=7, failures=[]))
        await eventually(lambda: ("r1", "2", 0) in scene.admin.asked)


async def test_one_that_has_gone_is_asked_no_more_until_it_is_back() -> None:
    async with alarmed() as scene:
        await scene.announce("r1")
        await eventually(lambda: len(scene.admin.asked) == 1)
        await scene.leave("r1")
        scene.admin.tell["r1"].put_nowait(Failing(look=1, failures=[]))
        await eventually(scene.admin.tell["r1"].empty)
        await scene.announce("r2")
        await eventually(lambda: scene.admin.asked == [("r1", "1", 0), ("r2", "1", 0)])
        await scene.announce("r1", boot="2")
        await eventually(lambda: ("r1", "2", 0) in scene.admin.asked)


async def test_of_much_that_fails_only_some_is_looked_at_at_once() -> None:
    async with alarmed() as scene:
        await scene.announce("r1")
        scene.admin.tell["r1"].put_nowait(Failing(look=1, failures=[failure(2)] * 3 * TOGETHER))
        await eventually(lambda: len(scene.heard) == 3 * TOGETHER)
        assert scene.bursts == [TOGETHER] * 3
