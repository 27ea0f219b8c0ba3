"""One watcher carries out one deployment: observe, decide, act or commit, and again until it has ended.

    intent written -> effect -> observed -> committed

The intent is the record itself: a step that is entered and has no effect yet. The effect is idempotent, so that a
watcher that finds an intent just makes it. A shift is one transaction of the alias, the record and the event; its
effect is told by the alias. When the effect shows everywhere the next step is entered, and that is the commit.

What it may touch is listed by `controller.means`: anything else about nodes, routers and time is somebody else's.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace as with_
from datetime import datetime
from typing import Any, TypeVar, assert_never

from msgspec.structs import replace

from controller import alias as reweighed
from controller import beginning, record, steps, transition
from controller.decide import decide
from controller.decision import Act, Advance, Begin, Change, Decision, Finish, GoBack, Wait
from controller.launch import StartFailed
from controller.means import Means
from controller.observer import RETRY_AFTER, Observer
from controller.quarantine import isolated, released
from controller.transition import News
from hotswap import errors, kv
from hotswap.deployment import Deployment, Event, Retire, Shift, Start, Status
from hotswap.judge.basis import SAMPLE_EVERY
from hotswap.model import Alias, Node
from hotswap.store import Stored, Transaction

log = logging.getLogger(__name__)

T = TypeVar("T")


class Watcher:
    def __init__(
        self,
        stored: Stored[Deployment],
        means: Means,
        *,
        first_in_line: Callable[[Deployment], bool],
        watched: datetime | None = None,
    ) -> None:
        """`watched`: since when it was watched, by one before this too; a fault must not put its deadlines off."""
        self._means = means
        self._stored = stored
        self._first_in_line = first_in_line
        self._alias: Stored[Alias] | None = None
        self.watched = watched or means.clock()
        self.turned = means.clock()
        """When it last looked at its deployment."""
        self._wake = asyncio.Event()
        self._observer = Observer(means, watched=self.watched, wake=self._wake.set)
        self._stale = True
        """What is known of the store may be old: read before anything else."""
        self._deleted = False

    @property
    def deployment(self) -> Deployment:
        return self._stored.value

    def offer(self, stored: Stored[Deployment]) -> None:
        """The record as a watch of the store tells it."""
        if stored.mod_revision > self._stored.mod_revision:
            self._stored = stored
            self._wake.set()

    def offer_alias(self, stored: Stored[Alias]) -> None:
        if self._alias is None or stored.mod_revision > self._alias.mod_revision:
            self._alias = stored
            self._wake.set()

    def alias_gone(self, revision: int) -> None:
        if self._alias and revision > self._alias.mod_revision:
            self._alias = None
            self._wake.set()

    def doubt(self) -> None:
        """The record is not as it was told: read it anew."""
        self._stale = True
        self._wake.set()

    def look(self) -> None:
        """Something that it may wait for has changed."""
        self._wake.set()

    def alarm(self, version: int) -> bool:
        """The version had bad invocations: whether it is judged here, so that its counts are asked for at once."""
        watched = steps.watched(self.deployment)
        if watched is None or version not in watched.versions:
            return False
        self._observer.sample_now(self.deployment)
        return True

    async def run(self) -> None:
        """Returns when the deployment has ended. Raises `NotLeader` when somebody else leads."""
        try:
            while not self._deleted and (self._stale or not self.deployment.status.terminal):
                self._wake.clear()
                try:
                    await self._turn()
                except errors.Conflict:
                    self._stale = True
                    self._observer.doubt()
                except (errors.Unavailable, errors.Invalid, kv.KVError) as error:
                    self._stale = True
                    log.warning("%s waits: %s", self.deployment.id, error)
                    await asyncio.sleep(RETRY_AFTER)
        finally:
            await self._observer.close()

    async def _turn(self) -> None:
        self.turned = self._means.clock()
        if self._stale:
            await self._reload()
        if self._deleted or self.deployment.status.terminal:
            return
        known = self._stored, self._alias
        decision = await self._decide()
        if known != (self._stored, self._alias):
            return  # somebody wrote meanwhile: what was decided about the old is not to be written over the new
        match decision:
            case Wait(until=until):
                await self._wait(until)
            case Act(step=step):
                await self._act(step)
            case Begin():
                await self._begin()
            case _:
                await self._commit(decision)

    async def _decide(self) -> Decision:
        """Which versions serve is asked for only where that decides how far back to go."""
        observation = await self._observer.observe(self.deployment, self._alias, turn=await self._has_turn())
        decision = decide(self.deployment, observation, self._means.clock())
        if isinstance(decision, GoBack):
            observation = with_(observation, serving=await self._observer.serving(self.deployment))
            decision = decide(self.deployment, observation, self._means.clock())
        return decision

    async def _has_turn(self) -> bool:
        deployment = self.deployment
        if deployment.status is not Status.QUEUED or not self._first_in_line(deployment):
            return False
        return await self._means.store.active.get(deployment.function, deployment.alias) is None

    async def _reload(self) -> None:
        store, deployment = self._means.store, self.deployment
        found = await store.deployments.get(deployment.id)
        if found is None:
            log.error("deployment %s was deleted from the store while it ran; its alias stays as it is", deployment.id)
            self._deleted = True
            return
        self._stale = False  # before what follows: a doubt that comes meanwhile is kept
        self.offer(found)
        before = self._alias
        alias = await store.aliases.get(deployment.function, deployment.alias)
        if alias:
            self.offer_alias(alias)
        elif self._alias is before:  # no watch has told of a newer one meanwhile
            self._alias = None

    async def _wait(self, until: datetime | None) -> None:
        """Until then, or until something changes. The routers are asked meanwhile, and what they tell is a change."""
        sampled = steps.watched(self.deployment) is not None
        while not self._wake.is_set():
            now = self._means.clock()
            if until and now >= until:
                return
            if sampled:
                self._observer.sample(self.deployment)
            ends = [it for it in (until, now + SAMPLE_EVERY if sampled else None) if it]
            try:
                async with asyncio.timeout((min(ends) - now).total_seconds() if ends else None):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _act(self, step: Start | Shift | Retire) -> None:
        placement, function = self._means.placement, self.deployment.function
        match step:
            case Start():
                await self._start(step)
            case Shift():
                await self._shift(step)
            case Retire():
                settled = await self._unless_woken(placement.settle(function))
                if settled is not None:
                    await self._made(settled, News("node", f"version {step.version} is taken from its nodes"))
            case _:
                assert_never(step)

    async def _start(self, step: Start) -> None:
        work = self._means.placement.assign(self.deployment.function, step)
        try:
            revision = await self._unless_woken(work) if step.least_serving else await work
        except StartFailed as failure:
            if steps.goes_back(self.deployment.status):  # nodes may be back before the step's time is over
                raise errors.Unavailable(str(failure)) from failure
            self._observer.broke(str(failure))
            return
        if revision is not None:
            await self._made(revision, News("node", f"version {step.version} is assigned to its nodes"))

    async def _unless_woken(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Its result; `None` when something changed first, and it was given up: it may be begun again."""
        tasks = asyncio.create_task(work), asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return tasks[0].result() if tasks[0].done() else None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _made(self, revision: int, news: News) -> None:
        """The effect is made: note at which revision."""
        progress = replace(self.deployment.progress, effect=revision)
        after, events = transition.told(replace(self.deployment, progress=progress), [news], self._means.clock())
        await self._committed(self._write(after, events), after)

    async def _shift(self, step: Shift) -> None:
        now = self._means.clock()
        news = News("weights", f"{self.deployment.alias}: {steps.shares(step.weights)}")
        after, events = transition.told(self.deployment, [news], now)
        alias = reweighed.shifted(self._alias.value if self._alias else None, step, self.deployment, now)
        await self._committed(self._write(after, events).put(alias, over=self._alias), after, alias=alias)

    async def _begin(self) -> None:
        """The plan is made of what is there now. What makes no sense any more ends it."""
        store, now, stored = self._means.store, self._means.clock(), self._stored  # as it was when this was decided
        try:
            on = await beginning.ground(store, stored.value.request)
            after, events = beginning.planned(stored.value, on, now)
        except (errors.Refused, errors.Invalid, errors.NotFound) as error:
            await self._commit(Finish(Status.FAILED, str(error)))
            return
        transaction = store.transaction(self._means.fence)
        await self._committed(beginning.take(transaction, stored, after, events, on), after)
        self._stale = True  # the alias may be a newer one than is known here

    async def _commit(self, decision: Change) -> None:
        before, alias, now = self.deployment, self._alias, self._means.clock()
        after, events = transition.change(before, decision, now)
        transaction = self._write(after, events)
        if after.faulty and not before.faulty:
            await isolated(self._means.store, transaction, after, now)
        if isinstance(decision, Advance) and decision.nodes_revision:
            transaction.require_none_newer(Node, revision=decision.nodes_revision)
        if after.status.terminal:
            await self._let_go(transaction, after, alias)
        await self._committed(transaction, after)
        self._observer.moved_on()
        log.info("%s: %s", after.id, "; ".join(event.text for event in events))

    async def _let_go(self, transaction: Transaction, after: Deployment, alias: Stored[Alias] | None) -> None:
        """The alias is free, and after a success it knows its last good version."""
        active = await self._means.store.active.get(after.function, after.alias)
        if active and active.value.deployment == after.id:
            transaction.delete(active)
        if alias and after.status is Status.SUCCEEDED:
            transaction.replace(alias, reweighed.settled(alias.value))
            await released(self._means.store, transaction, after.function, after.version)

    def _write(self, after: Deployment, events: list[Event]) -> Transaction:
        return record.put(self._means.store.transaction(self._means.fence), self._stored, after, events)

    async def _committed(self, transaction: Transaction, after: Deployment, *, alias: Alias | None = None) -> None:
        revision = await transaction.commit()
        if revision > self._stored.mod_revision:
            self._stored = Stored(after, self._stored.key, self._stored.create_revision, revision)
        if alias:
            created = self._alias.create_revision if self._alias else revision
            self.offer_alias(Stored(alias, self._means.store.key_of(alias), created, revision))
