"""What a watcher makes of writes that come while it looks: nothing that was asked is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import pytest
from msgspec.structs import replace

from controller import steps, transition
from controller.means import Means, Placing
from controller.watcher import Watcher
from hotswap import kv
from hotswap.deployment import Active, Ask, Deployment, Leader, Retire, Start, Status, Test, Verb
from hotswap.memory import MemoryKV
from hotswap.metrics import Counters
from hotswap.mirror import mirrored
from hotswap.model import Alias, Node
from hotswap.store import Fence, Store
from tests.controller_walk import BEGIN, deployment

FUNCTION, ALIAS = "f", "production"


class Interrupted(MemoryKV):
    """A store in which something happens right before a key is read, or after a prefix was, for the n-th time."""

    def __init__(self, where: str, *, time: int = 1) -> None:
        super().__init__()
        self._where = where
        self._left = time
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def get(self, key: str) -> kv.Item | None:
        await self._interrupted(key)
        return await super().get(key)

    async def range(self, prefix: str) -> kv.Listing:
        listing = await super().range(prefix)
        await self._interrupted(prefix)
        return listing

    async def _interrupted(self, key: str) -> None:
        if self.meanwhile and key.startswith(f"/hotswap/{self._where}/"):
            self._left -= 1
            if self._left == 0:
                await self.meanwhile()


class Obliging:
    """Nodes and routers that have done everything already."""

    async def assign(self, function: str, step: Start) -> int:
        return 1

    async def settle(self, function: str) -> int:
        return 1

    async def started(self, function: str, step: Start) -> int:
        return 1

    async def retired(self, function: str, step: Retire) -> None:
        return

    async def applied(self, subject: Literal["aliases", "endpoints"], revision: int) -> None:
        return

    async def counters(self, function: str) -> list[Counters]:
        return []

    async def tested(self, deployment: Deployment, step: Test) -> str:
        return "there are none"


class Restarted(Obliging):
    """The agent of the node comes back, and is announced anew, right after it was seen to have started the version."""

    def __init__(self, store: Store) -> None:
        self.looked: list[int] = []
        self._store = store

    async def started(self, function: str, step: Start) -> int:
        node = Node(name="n1", address="", boot=str(len(self.looked)))
        if not self.looked:
            seen = await self._store.transaction().create(node).commit()
            await self._store.transaction().announce(node, lease=0).commit()
        else:
            stored = await self._store.nodes.get("n1")
            assert stored
            seen = stored.mod_revision
        self.looked.append(seen)
        return seen


def retiring() -> tuple[Deployment, Alias]:
    """A canary that has all of the traffic, with only its last step left, and the alias as it has set it."""
    begun = deployment(stable={5: 100})
    last = len(begun.plan) - 1
    shift = steps.last_shift(begun, before=last)
    assert shift is not None
    assert isinstance(begun.plan[last], Retire)
    key = steps.key(replace(begun, progress=replace(begun.progress, index=shift)))
    progress = replace(steps.enter(begun.plan, last, BEGIN, attempt=1), effect=1)
    alias = Alias(function=FUNCTION, name=ALIAS, weights={6: 100}, owner=begun.id, step=key, last_good=5)
    return replace(begun, progress=progress, began_on=0), alias


async def watcher(store: Store, record: Deployment, alias: Alias, *, placement: Placing | None = None) -> Watcher:
    me = Leader(controller="c1", address="", since=BEGIN)
    active = Active(function=FUNCTION, alias=ALIAS, deployment=record.id)
    await store.transaction().create(record).create(active).create(me).commit()
    await store.transaction().create(alias).commit()
    leader, stored = await store.leader.get("controller"), await store.deployments.get(record.id)
    assert leader
    assert stored
    fence = Fence(leader.key, leader.create_revision)
    means = Means(
        store=store,
        fence=fence,
        placement=placement or Obliging(),
        routers=Obliging(),
        testing=Obliging(),
        clock=lambda: BEGIN,
    )
    return Watcher(stored, means, first_in_line=lambda _: True)


@pytest.mark.parametrize(("where", "time"), [("active", 1), ("quarantine", 1)])
async def test_a_rollback_that_is_asked_for_while_a_success_is_decided_is_carried_out(where: str, time: int) -> None:
    interrupted = Interrupted(where, time=time)
    store = Store(interrupted)
    record, alias = retiring()
    watching = await watcher(store, record, alias)

    async def ask() -> None:
        stored = await store.deployments.get(record.id)
        assert stored
        asked, events = transition.asked(stored.value, Ask(verb=Verb.ROLLBACK, who="ada", why="", at=BEGIN))
        transaction = store.transaction().replace(stored, asked)
        for event in events:
            transaction.create(event)
        await transaction.commit()
        after = await store.deployments.get(record.id)
        assert after
        watching.offer(after)

    interrupted.meanwhile = ask
    await watching.run()
    ended = await store.deployments.get(record.id)
    assert ended
    assert ended.value.status is Status.ROLLED_BACK


async def test_an_edit_that_comes_while_a_success_is_decided_is_noticed() -> None:
    interrupted = Interrupted("active")
    store = Store(interrupted)
    record, alias = retiring()
    watching = await watcher(store, record, alias)

    async def edit() -> None:
        stored = await store.aliases.get(FUNCTION, ALIAS)
        assert stored
        await store.transaction().replace(stored, replace(alias, weights={3: 100})).commit()
        after = await store.aliases.get(FUNCTION, ALIAS)
        assert after
        watching.offer_alias(after)

    interrupted.meanwhile = edit
    work = asyncio.create_task(watching.run())
    async with asyncio.timeout(10), mirrored(store.deployments) as deployments:
        await deployments.until(lambda it: any(one.value.status is Status.HELD for one in it))
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    found = await store.aliases.get(FUNCTION, ALIAS)
    assert found
    assert found.value.last_good == 5


async def test_a_start_is_looked_at_again_when_a_node_was_announced_anew_before_that_is_written() -> None:
    store = Store(MemoryKV())
    restarted = Restarted(store)
    alias = Alias(function=FUNCTION, name=ALIAS, weights={5: 100}, last_good=5)
    watching = await watcher(store, deployment(stable={5: 100}), alias, placement=restarted)
    running = asyncio.create_task(watching.run())
    async with asyncio.timeout(20), mirrored(store.deployments) as deployments:
        await deployments.until(lambda them: any(it.value.progress.index for it in them))
    running.cancel()
    await asyncio.wait([running])
    assert restarted.looked == sorted(set(restarted.looked))
    assert len(restarted.looked) == 2
