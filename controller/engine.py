"""Starts one watcher for each running deployment, and tells it what changed.

A watcher that dies by a fault of ours is started again, later each time, with its fault in the log; one that finds that
somebody else leads ends the engine, and with it everything that this controller does as the leader. A watchdog sees to
it that none stands still beyond its deadline: one that does is replaced, whatever it was that held it.
"""

import asyncio
import logging
from collections import defaultdict
from datetime import timedelta

from controller.means import Means
from controller.watcher import Watcher
from hotswap import errors
from hotswap.deployment import Deployment, Status
from hotswap.metrics import Failure
from hotswap.store import Broken, Gone, Stored

log = logging.getLogger(__name__)

FIRST_RESTART = 0.5
LAST_RESTART = 30.0
"""Seconds before a watcher that died is started again: doubled each time, up to this."""


WATCH_EVERY = 5.0
"""Seconds between two looks of the watchdog."""
OVERDUE = timedelta(minutes=2)
"""A deployment that has not been looked at for this long after its deadline has lost its watcher to something."""


class Engine:
    def __init__(self, means: Means) -> None:
        self._means = means
        self._watchers: dict[str, Watcher] = {}
        self._on: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        """By function and alias, the deployments that have a watcher."""
        self._runs: dict[str, asyncio.Task[None]] = {}
        """What the watchers do now; cancelled, a run is begun again."""

    def alarm(self, failure: Failure) -> int:
        """A version had bad invocations: how many deployments look at its counts at once for that."""
        return sum(watcher.alarm(failure.version) for watcher in self._watching(failure.function, failure.alias))

    async def run(self) -> None:
        """Never returns. Raises (in a group) what no watcher can outlive, `NotLeader` above all."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_deployments(tasks), name="deployments")
            tasks.create_task(self._follow_aliases(), name="aliases")
            tasks.create_task(self._follow_active(), name="active")
            tasks.create_task(self._watchdog(), name="watchdog")

    async def _follow_deployments(self, tasks: asyncio.TaskGroup) -> None:
        async with self._means.store.deployments.watch() as batches:
            async for batch in batches:
                for change in batch.changes:
                    match change:
                        case Stored():
                            self._saw(change, tasks)
                        case Broken(parts=parts, error=error):
                            log.error("deployment %s cannot be read: %s", "/".join(parts), error)
                        case Gone(parts=(name,)) if name in self._watchers:
                            self._watchers[name].doubt()
                        case Gone():
                            pass  # it had ended

    def _saw(self, stored: Stored[Deployment], tasks: asyncio.TaskGroup) -> None:
        deployment = stored.value
        if watcher := self._watchers.get(deployment.id):
            watcher.offer(stored)
        elif not deployment.status.terminal:
            self._watchers[deployment.id] = self._watcher(stored)
            self._on[deployment.function, deployment.alias].append(deployment.id)
            tasks.create_task(self._keep_watching(stored), name=f"deployment {deployment.id}")

    async def _follow_aliases(self) -> None:
        async with self._means.store.aliases.watch() as batches:
            async for batch in batches:
                for change in batch.changes:
                    match change:
                        case Stored(value=alias):
                            for watcher in self._watching(alias.function, alias.name):
                                watcher.offer_alias(change)
                        case Gone(parts=(function, name), mod_revision=revision):
                            for watcher in self._watching(function, name):
                                watcher.alias_gone(revision)
                        case Broken(parts=parts, error=error):
                            log.error("alias %s cannot be read: %s", "/".join(parts), error)

    async def _follow_active(self) -> None:
        """An alias that is free is the turn of one that is queued."""
        async with self._means.store.active.watch() as batches:
            async for batch in batches:
                for change in batch.changes:
                    if isinstance(change, Gone):
                        for watcher in self._watching(*change.parts):
                            watcher.look()

    async def _watchdog(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY)
            now = self._means.clock()
            for name, watcher in self._watchers.items():
                due = max(watcher.deployment.progress.deadline, watcher.turned)
                if now > due + OVERDUE and name in self._runs:
                    log.error("nothing was done about %s since %s: its watcher is replaced", name, watcher.turned)
                    self._runs[name].cancel()

    def _watching(self, function: str, alias: str) -> list[Watcher]:
        """On an alias: the one that runs, those that are queued, and for a moment one that ends."""
        return [self._watchers[name] for name in self._on.get((function, alias), ())]

    def _first_in_line(self, deployment: Deployment) -> bool:
        queued = [
            it.deployment
            for it in self._watching(deployment.function, deployment.alias)
            if it.deployment.status is Status.QUEUED
        ]
        return min(queued, key=lambda it: (it.created, it.id), default=deployment).id == deployment.id

    def _watcher(self, stored: Stored[Deployment], *, after: Watcher | None = None) -> Watcher:
        watched = after.watched if after else None
        return Watcher(stored, self._means, first_in_line=self._first_in_line, watched=watched)

    async def _keep_watching(self, stored: Stored[Deployment]) -> None:
        name, delay = stored.value.id, FIRST_RESTART
        where = stored.value.function, stored.value.alias
        try:
            while not await self._watched(name):
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RESTART)
                self._watchers[name] = self._watcher(stored, after=self._watchers[name])
        finally:
            del self._watchers[name]
            self._on[where].remove(name)
            for waiting in self._watching(*where):
                waiting.look()  # who stood before it in the queue is gone
            if not self._on[where]:
                del self._on[where]

    async def _watched(self, name: str) -> bool:
        """One run of the watcher; false when it has to be begun again."""
        run = self._runs[name] = asyncio.create_task(self._watchers[name].run(), name=f"watcher of {name}")
        try:
            await asyncio.wait({run})
            if run.cancelled():
                return False
            if isinstance(fault := run.exception(), errors.NotLeader):
                raise fault
            if fault:
                log.error("the watcher of %s died; it is started again", name, exc_info=fault)
            return fault is None
        finally:
            del self._runs[name]
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
