"""Notices on a real etcd, to a real receiver: every change of status arrives, whatever fails on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from controller import record, transition
from controller.courier import GIVE_UP_AFTER, Means
from controller.hooks import Hooks
from controller.notify import Notifier
from controller.outbox import Outbox
from controller.transition import News
from controller.webhook import webhooks
from hotswap import etcd as etcd_client
from hotswap.deployment import Deployment, Leader, Progress, Retire, Status
from hotswap.errors import Invalid, NotFound, NotLeader, Refused
from hotswap.kv import KV
from hotswap.memory import MemoryKV
from hotswap.mirror import Mirror, mirrored
from hotswap.notice import Notice
from hotswap.rpc import callers, wire
from hotswap.rpc import controller_pb2 as pb
from hotswap.settings import EtcdSettings
from hotswap.store import Fence, Store
from tests.controller_platform import FUNCTION, LIMIT, all_at_once, canary, platform
from tests.integration.test_controller_crashes import MOST_WRITES, DyingKV
from tests.receiver import Receiver, receiving
from tests.unit.test_webhook import verify

ME = "c1"


def now() -> datetime:
    return datetime.now(UTC)


@pytest_asyncio.fixture
async def kv(etcd: EtcdSettings) -> AsyncIterator[KV]:
    made = etcd_client.connect(etcd)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


class World:
    """Hooks and notices, without the engine: a test changes the status of deployments itself."""

    def __init__(self, store: Store, receiver: Receiver) -> None:
        self.store = store
        self.receiver = receiver
        self.hooks = Hooks(store=store, clock=now)
        self.later = timedelta()
        """By how much the notifier's clock is ahead."""
        self.pause = 0.01
        """Seconds between two attempts."""

    async def hook(self, name: str, *, functions: list[str] | None = None, statuses: list[str] | None = None) -> None:
        url = self.receiver.url(name)
        await self.hooks.add(name, url, functions=functions or [], statuses=statuses or [], who="ada")

    async def change(self, name: str, *statuses: Status) -> None:
        """The deployment is created, or goes on, with one of these statuses after the other."""
        for status in statuses:
            before = await self.store.deployments.get(name)
            known = before.value if before else _deployment(name)
            after, events = transition.told(replace(known, status=status), [News("step", status)], now())
            await record.put(self.store.transaction(), before, after, events).commit()

    async def ids(self, name: str) -> list[str]:
        return [f"{name}/{stored.value.number}" for stored in await self.store.events.list(name)]

    @asynccontextmanager
    async def notifying(self, through: Store | None = None) -> AsyncIterator[asyncio.Task[None]]:
        """The notifier of a leader, which hardly pauses between two attempts; `through`: its own way to the store."""
        store = through or self.store
        leader = Leader(controller=ME, address="127.0.0.1:9", since=now())
        fence = Fence(self.store.key_of(leader), await self.store.transaction().create(leader).commit())
        async with webhooks(clock=now) as sender:
            outbox = Outbox(store=store, fence=fence, clock=self._clock)
            means = Means(outbox=outbox, webhooks=sender, clock=self._clock, pause=lambda _: self.pause)
            work = asyncio.create_task(Notifier(store, means).run(), name="notifier")
            try:
                yield work
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                await self.depose()

    def _clock(self) -> datetime:
        return now() + self.later

    async def depose(self) -> None:
        if leader := await self.store.leader.get("controller"):
            await self.store.transaction().delete(leader).commit()

    async def outbox_becomes(self, what: Callable[[Mirror[Notice]], bool]) -> None:
        async with asyncio.timeout(LIMIT), mirrored(self.store.outbox) as outbox:
            await outbox.until(what)

    async def outbox_empty(self) -> None:
        await self.outbox_becomes(lambda outbox: len(outbox) == 0)


def _deployment(name: str) -> Deployment:
    return Deployment(
        id=name,
        request=all_at_once(1),
        status=Status.RUNNING,
        plan=[Retire(version=1)],
        way_back=[],
        progress=Progress(entered=now(), deadline=now()),
        created=now(),
    )


@pytest.fixture
def world(kv: KV, receiver: Receiver) -> World:
    return World(Store(kv), receiver)


async def test_every_change_of_status_arrives_once_and_signed(kv: KV, receiver: Receiver, tmp_path: Path) -> None:
    async with platform(kv, tmp_path) as made, made.leading() as api:
        added = await api.AddHook(pb.AddHookRequest(name="team", url=receiver.url("team")))
        first = await made.deployed(api, all_at_once(1))
        made.behaviour.failing[2] = 0.2
        second = await made.deployed(api, canary(2))
        assert second.status is Status.ROLLED_BACK
        async with asyncio.timeout(LIMIT), mirrored(made.store.outbox) as outbox:
            await outbox.until(lambda it: len(it) == 0)
        assert receiver.told("team") == [
            (first.id, None, "Running"),
            (first.id, "Running", "Succeeded"),
            (second.id, None, "Running"),
            (second.id, "Running", "RollingBack"),
            (second.id, "RollingBack", "RolledBack"),
        ]
        assert len(set(receiver.ids("team"))) == 5
        check = verify()
        assert all(check(added.secret, one.headers, one.content) for one in receiver.got)
        assert {one.id == one.body["id"] and one.body["type"] for one in receiver.got} == {"deployment.status"}
        assert "error rate" in receiver.got[-1].body["reason"]
        [listed] = (await api.ListHooks(pb.ListHooksRequest())).hooks
        assert (listed.delivered, listed.pending, listed.failures, listed.undelivered) == (5, 0, 0, 0)
        assert listed.last_delivery


async def test_a_hook_is_added_listed_tested_and_removed(kv: KV, receiver: Receiver, tmp_path: Path) -> None:
    async with platform(kv, tmp_path, nodes=0, routers=0) as made, made.standing_by("c2") as api:
        request = pb.AddHookRequest(
            name="team", url=receiver.url("team"), functions=[FUNCTION], statuses=["rolledback", "Frozen"]
        )
        added = await api.AddHook(request, metadata=((callers.WHO, "ada"),))
        [listed] = (await api.ListHooks(pb.ListHooksRequest())).hooks
        assert (listed.name, list(listed.functions), list(listed.statuses), listed.who) == (
            ("team", [FUNCTION], ["RolledBack", "Frozen"], "ada")
        )
        answer = await api.TestHook(pb.TestHookRequest(name="team"))
        assert (answer.delivered, answer.answer) == (True, "200 OK")
        assert receiver.got[0].body["type"] == "test"
        assert verify()(added.secret, receiver.got[0].headers, receiver.got[0].content)
        receiver.answers["team"] = [302]
        answer = await api.TestHook(pb.TestHookRequest(name="team"))
        assert (answer.delivered, answer.answer) == (False, "302 Found")
        assert len(receiver.got) == 2, "a redirect is not followed"
        await api.RemoveHook(pb.RemoveHookRequest(name="team"))
        assert not (await api.ListHooks(pb.ListHooksRequest())).hooks
        with pytest.raises(NotFound, match='no hook "team"'), wire.calling("the controller"):
            await api.TestHook(pb.TestHookRequest(name="team"))


async def test_a_hook_that_would_be_wrong_is_refused(world: World) -> None:
    await world.hook("team")
    with pytest.raises(Refused, match="hotswap hook remove team"):
        await world.hook("team")
    with pytest.raises(Invalid, match="RolledBack"):
        await world.hook("another", statuses=["Broken"])
    with pytest.raises(NotFound, match="hotswap hook list"):
        await world.hooks.remove("another")


async def test_nothing_answers_and_a_test_says_so(world: World) -> None:
    await world.hooks.add("team", "http://127.0.0.1:9/", functions=[], statuses=[], who="")
    answer = await world.hooks.test("team")
    assert not answer.delivered
    assert answer.text.startswith("no answer")


async def test_a_receiver_that_fails_three_times_gets_the_notice_the_fourth_time(world: World) -> None:
    await world.hook("team")
    world.receiver.answers["team"] = [500, 302, 404]
    async with world.notifying():
        await world.change("d-1", Status.RUNNING)
        await world.outbox_empty()
    assert world.receiver.ids("team") == await world.ids("d-1") * 4
    [standing] = await world.hooks.standings()
    assert (standing.deliveries.delivered, standing.deliveries.failures) == (1, 0)


async def test_failures_are_shown_while_they_last(world: World) -> None:
    await world.hook("team")
    world.receiver.answers["team"] = [503] * 10_000
    async with world.notifying():
        await world.change("d-1", Status.RUNNING, Status.FAILED)
        async with asyncio.timeout(LIMIT), mirrored(world.store.deliveries) as deliveries:
            await deliveries.until(lambda it: any(stored.value.failures > 1 for stored in it))
    [standing] = await world.hooks.standings()
    assert (standing.pending, standing.deliveries.error) == (2, "503 Service Unavailable")


async def test_a_leader_lost_between_delivery_and_mark_is_followed_by_a_second_delivery_of_the_same_id(
    world: World,
) -> None:
    await world.hook("team")
    world.receiver.meanwhile = world.depose  # the receiver takes it, and the mark comes too late
    async with world.notifying() as work:
        await world.change("d-1", Status.RUNNING)
        with pytest.raises(ExceptionGroup) as ended:
            await asyncio.wait_for(work, LIMIT)
        assert ended.group_contains(NotLeader)
    world.receiver.meanwhile = None
    [standing] = await world.hooks.standings()
    assert standing.pending == 1
    async with world.notifying():
        await world.outbox_empty()
    assert world.receiver.ids("team") == await world.ids("d-1") * 2


async def test_a_new_leader_delivers_what_is_left_and_nothing_that_was_delivered(world: World) -> None:
    await world.hook("quick")
    await world.hook("hanging")
    world.receiver.hanging.add("hanging")
    async with world.notifying():
        await world.change("d-1", Status.RUNNING, Status.SUCCEEDED)
        await world.outbox_becomes(lambda outbox: [it.value.done for it in outbox] == [["quick"], ["quick"]])
    world.receiver.hanging.clear()
    async with world.notifying():
        await world.outbox_empty()
    first, second = await world.ids("d-1")
    assert world.receiver.ids("quick") == [first, second]
    assert world.receiver.ids("hanging") == [first, first, second]


@pytest.mark.parametrize("made", [False, True], ids=["before", "after"])
async def test_a_leader_that_dies_around_any_of_its_writes_is_followed_by_one_that_goes_on(
    receiver: Receiver, *, made: bool
) -> None:
    changes = Status.RUNNING, Status.ROLLING_BACK, Status.ROLLED_BACK
    for write in range(1, MOST_WRITES):
        inner, hooks = MemoryKV(), (f"a{write}", f"b{write}")
        world, dying = World(Store(inner), receiver), DyingKV(inner, write=write, made=made)
        for hook in hooks:
            await world.hook(hook)
        receiver.answers[hooks[0]] = [500]
        async with world.notifying(Store(dying)):
            await world.change("d-1", *changes)
            died = await _first(dying.died.wait(), world.outbox_empty()) == 0
        async with world.notifying():
            await world.outbox_empty()
        for hook in hooks:
            assert list(dict.fromkeys(receiver.ids(hook))) == await world.ids("d-1")
        if not died:
            return
    raise AssertionError(f"the notifier makes more than {MOST_WRITES} writes for three notices")


async def _first(*waits: Coroutine[Any, Any, object]) -> int:
    """Which of them ends first."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        async with asyncio.timeout(LIMIT):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(index for index, task in enumerate(tasks) if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_hook_that_hangs_does_not_delay_another(world: World) -> None:
    await world.hook("hanging")
    await world.hook("quick")
    world.receiver.hanging.add("hanging")
    names = [f"d-{number}" for number in range(8)]
    async with world.notifying():
        for name in names:
            await world.change(name, Status.RUNNING, Status.SUCCEEDED)
        await world.receiver.has("quick", 16)
        held = world.receiver.ids("hanging")
        assert len(held) == len(set(held)) <= 4, "no more at once than the hook's places"


async def test_deployments_side_by_side_each_keep_their_order(world: World) -> None:
    await world.hook("team")
    world.receiver.answers["team"] = [500, 200, 500, 500, 200, 200, 500]
    changes = Status.RUNNING, Status.ROLLING_BACK, Status.FROZEN, Status.ROLLING_BACK, Status.ROLLED_BACK
    async with world.notifying():
        await asyncio.gather(world.change("d-1", *changes), world.change("d-2", *changes))
        await world.outbox_empty()
    for name in ("d-1", "d-2"):
        came = [one for one in world.receiver.ids("team") if one.startswith(name)]
        assert list(dict.fromkeys(came)) == await world.ids(name)
        assert came == sorted(came), "none comes before an earlier one is taken"


async def test_a_hook_gets_what_its_filters_let_through(world: World) -> None:
    await world.hook("ends", statuses=["Succeeded", "Failed"])
    await world.hook("others", functions=["hello"])
    async with world.notifying():
        await world.change("d-1", Status.RUNNING, Status.SUCCEEDED)
        await world.outbox_empty()
    assert world.receiver.told("ends") == [("d-1", "Running", "Succeeded")]
    assert not world.receiver.ids("others")


async def test_without_hooks_nothing_stays_in_the_outbox(world: World) -> None:
    await world.change("d-1", Status.RUNNING)
    async with world.notifying():
        await world.change("d-1", Status.SUCCEEDED)
        await world.outbox_empty()


async def test_a_hook_gets_only_what_happens_after_it_was_added(world: World) -> None:
    await world.change("d-1", Status.RUNNING)
    await world.hook("team")
    await world.change("d-1", Status.SUCCEEDED)
    async with world.notifying():
        await world.outbox_empty()
    assert world.receiver.told("team") == [("d-1", "Running", "Succeeded")]


async def test_a_hook_that_is_removed_gets_nothing_more_and_leaves_nothing_behind(world: World) -> None:
    await world.hook("team")
    await world.hook("other")
    world.receiver.answers["team"] = [500] * 10_000
    world.pause = 0.2  # so that the hook can be removed between two attempts
    async with world.notifying():
        await world.change("d-1", Status.RUNNING, Status.SUCCEEDED)
        await world.receiver.has("other", 2)
        await world.hooks.remove("team")
        await world.outbox_empty()
        await world.change("d-2", Status.RUNNING)
        await world.receiver.has("other", 3)
        await world.outbox_empty()
    assert not set(world.receiver.ids("team")) & set(await world.ids("d-2"))
    assert [stored.value.hook for stored in await world.store.deliveries.list()] == ["other"]


async def test_a_receiver_that_is_gone_disables_its_hook(world: World) -> None:
    await world.hook("team")
    world.receiver.answers["team"] = [410]
    async with world.notifying():
        await world.change("d-1", Status.RUNNING, Status.SUCCEEDED)
        await world.outbox_empty()
    [standing] = await world.hooks.standings()
    assert standing.hook.disabled == "its receiver answered 410 Gone"
    assert len(world.receiver.ids("team")) == 1


async def test_a_notice_of_a_day_ago_is_given_up_and_kept_to_be_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.outbox.KEPT", 2)
    await world.hook("team")
    world.receiver.answers["team"] = [500] * 3
    changes = Status.RUNNING, Status.ROLLING_BACK, Status.FROZEN, Status.ABORTED
    world.later = GIVE_UP_AFTER
    async with world.notifying():
        await world.change("d-1", *changes)
        await world.outbox_empty()
    given_up = await world.hooks.undelivered("team")
    assert [(one.notice.status, one.error) for one in given_up] == [
        (Status.ROLLING_BACK, "500 Internal Server Error"),
        (Status.FROZEN, "500 Internal Server Error"),
    ]
    assert world.receiver.ids("team") == await world.ids("d-1")
    await world.hooks.remove("team")
    assert not await world.store.undelivered.list()
