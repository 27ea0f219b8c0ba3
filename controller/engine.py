"""Starts one watcher for each running deployment, and tells it what changed.

A watcher that dies by a fault of ours is started again, later each time, with its fault in the log; one that finds that
somebody else leads ends the engine, and with it everything that this controller does as the leader.
"""

import asyncio
import logging

from controller.watcher import Means, Watcher
from hotswap import errors
from hotswap.deployment import Deployment
from hotswap.store import Broken, Gone, Stored

log = logging.getLogger(__name__)

FIRST_RESTART = 0.5
LAST_RESTART = 30.0
"""Seconds before a watcher that died is started again: doubled each time, up to this."""


class Engine:
    def __init__(self, means: Means) -> None:
        self._means = means
        self._watchers: dict[str, Watcher] = {}

    async def run(self) -> None:
        """Never returns. Raises (in a group) what no watcher can outlive, `NotLeader` above all."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_deployments(tasks), name="deployments")
            tasks.create_task(self._follow_aliases(), name="aliases")

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
            self._watchers[deployment.id] = Watcher(stored, self._means)
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

    def _watching(self, function: str, alias: str) -> list[Watcher]:
        """At most one runs on an alias, except while one ends and the next begins."""
        watchers = self._watchers.values()
        return [it for it in watchers if (it.deployment.function, it.deployment.alias) == (function, alias)]

    async def _keep_watching(self, stored: Stored[Deployment]) -> None:
        name, delay = stored.value.id, FIRST_RESTART
        try:
            while True:
                try:
                    return await self._watchers[name].run()
                except errors.NotLeader:
                    raise
                except Exception:
                    log.exception("the watcher of %s died; it is started again in %g s", name, delay)
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RESTART)
                self._watchers[name] = Watcher(stored, self._means, watched=self._watchers[name].watched)
        finally:
            del self._watchers[name]
