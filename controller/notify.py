"""Tells the outside of every change of status: hands each notice to the couriers of the hooks that want it.

A change of status must not be lost, so the notice of it is written with it, whether anybody wants it or not: whoever
writes the change does not have to know the hooks, and a hook that is added at the same moment either stood before the
change or did not. What nobody wants is deleted here, at once, so that without hooks nothing stays behind. To decide at
the writer instead would save a write for each change, and have every such transaction compare all hooks.

Only this, of the leader, changes notices once they are made. So a watch of the outbox need only tell of new ones.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import SystemRandom

from controller.courier import RETRY_AFTER, Courier, Means, pause
from controller.means import Clock
from controller.outbox import Outbox, awaits
from controller.webhook import webhooks
from hotswap import errors, kv
from hotswap.hook import Hook
from hotswap.notice import Notice
from hotswap.store import Broken, Changes, Fence, Gone, Store, Stored

log = logging.getLogger(__name__)


class Notifier:
    def __init__(self, store: Store, means: Means) -> None:
        self._store = store
        self._means = means
        self._notices: dict[str, Stored[Notice]] = {}
        """By key, as each was first seen: whom it is done with since then is in the store."""
        self._couriers: dict[str, tuple[Courier, asyncio.Task[None]]] = {}
        """By the name of the hook, those of the hooks that are enabled."""
        self._unwanted: asyncio.Queue[Stored[Notice]] = asyncio.Queue()
        """Perhaps: the store is asked before one is deleted."""

    async def run(self) -> None:
        """Never returns. Raises (in a group) `NotLeader`."""
        async with (
            self._store.hooks.watch() as hooks,
            self._store.outbox.watch() as outbox,
            asyncio.TaskGroup() as tasks,
        ):
            self._saw_hooks(await anext(hooks), tasks)  # before the notices: else none of them would seem wanted
            tasks.create_task(self._follow_hooks(hooks, tasks), name="notifier: hooks")
            tasks.create_task(self._follow_outbox(outbox), name="notifier: outbox")
            tasks.create_task(self._drop_unwanted(), name="notifier: unwanted")

    async def _follow_hooks(self, batches: AsyncIterator[Changes[Hook]], tasks: asyncio.TaskGroup) -> None:
        async for batch in batches:
            self._saw_hooks(batch, tasks)

    def _saw_hooks(self, batch: Changes[Hook], tasks: asyncio.TaskGroup) -> None:
        for change in batch.changes:
            match change:
                case Stored(value=hook):
                    self._stop(hook.name)
                    if hook.enabled:
                        self._start(change, tasks)
                case Gone(parts=parts):
                    self._stop("/".join(parts))
                case Broken(parts=parts, error=error):
                    log.error('hook "%s" cannot be read: %s', "/".join(parts), error)

    def _start(self, hook: Stored[Hook], tasks: asyncio.TaskGroup) -> None:
        courier = Courier(hook, self._means)
        self._couriers[hook.value.name] = courier, tasks.create_task(courier.run(), name=f"hook {hook.value.name}")
        for notice in self._notices.values():
            if awaits(hook, notice):
                courier.offer(notice)

    def _stop(self, name: str) -> None:
        """What this hook waited for may be wanted by nobody now."""
        if name not in self._couriers:
            return
        courier, task = self._couriers.pop(name)
        task.cancel()
        for notice in self._notices.values():
            if awaits(courier.hook, notice):
                self._unwanted.put_nowait(notice)

    async def _follow_outbox(self, batches: AsyncIterator[Changes[Notice]]) -> None:
        async for batch in batches:
            for change in batch.changes:
                match change:
                    case Stored() if change.key not in self._notices:
                        self._saw(change)
                    case Stored():
                        pass  # a mark of ours
                    case Gone(parts=parts):
                        self._notices.pop(self._store.outbox.key(*parts), None)
                    case Broken(parts=parts, error=error):
                        log.error("notice %s cannot be read: %s", "/".join(parts), error)

    def _saw(self, notice: Stored[Notice]) -> None:
        self._notices[notice.key] = notice
        waiting = [courier for courier, _ in self._couriers.values() if awaits(courier.hook, notice)]
        for courier in waiting:
            courier.offer(notice)
        if not waiting:
            self._unwanted.put_nowait(notice)

    async def _drop_unwanted(self) -> None:
        while True:
            notice = await self._unwanted.get()
            try:
                await self._means.outbox.drop(notice)
            except errors.Conflict:
                self._unwanted.put_nowait(notice)
            except (errors.Unavailable, errors.Invalid, kv.KVError) as error:
                log.warning("notice %s stays for now: %s", notice.value.id, error)
                self._unwanted.put_nowait(notice)
                await asyncio.sleep(RETRY_AFTER)


@asynccontextmanager
async def notifying(*, store: Store, fence: Fence, clock: Clock) -> AsyncIterator[None]:
    """Runs until the context ends, or ends it: with `NotLeader` (in a group) when somebody else leads."""
    random = SystemRandom()
    async with webhooks(clock=clock) as sender, asyncio.TaskGroup() as tasks:
        outbox = Outbox(store=store, fence=fence, clock=clock)
        means = Means(outbox=outbox, webhooks=sender, clock=clock, pause=lambda failures: pause(failures, random))
        work = tasks.create_task(Notifier(store, means).run(), name="notifier")
        try:
            yield
        finally:
            work.cancel()
