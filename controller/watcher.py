"""One watcher carries out one deployment: observe, decide, act or commit, and again until it has ended.

    intent written -> effect -> observed -> committed

The intent is the record itself: a step that is entered and has no effect yet. The effect is idempotent, so that a
watcher that finds an intent just makes it. A shift is one transaction of the alias, the record and the event; its
effect is told by the alias. When the effect shows everywhere the next step is entered, and that is the commit.

What it may touch is listed by the protocols: anything else about nodes, routers and time is somebody else's.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar, assert_never

from msgspec.structs import replace

from controller import steps, transition
from controller.decide import decide
from controller.decision import Act, Broke, Change, Observation, Pending, Seen, Shows, Uncounted, Wait
from controller.launch import StartFailed
from controller.metrics.routers import Counts, Phase
from controller.sampling import Sampler
from controller.traffic import written
from controller.transition import News
from hotswap import errors, kv
from hotswap.deployment import Bake, Deployment, Event, Retire, Shift, Start, Status
from hotswap.metrics import Tally
from hotswap.model import Alias
from hotswap.store import Fence, Store, Stored, Transaction

log = logging.getLogger(__name__)

SAMPLE_EVERY = timedelta(seconds=2)
"""How often the routers are asked in a phase; a router that dies takes no more than that from the count."""
RETRY_AFTER = 0.3
"""Seconds before what failed for the store, an agent or a router is tried again."""

Clock = Callable[[], datetime]
T = TypeVar("T")


class Placing(Protocol):
    """See `controller.placement.Placement`."""

    async def assign(self, function: str, version: int) -> int: ...
    async def settle(self, function: str) -> int: ...
    async def started(self, function: str, version: int) -> None: ...
    async def retired(self, function: str, version: int) -> None: ...


class Routing(Counts, Protocol):
    """See `hotswap.routers.Routers`."""

    async def applied(self, subject: Literal["aliases", "endpoints"], revision: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """All by which a deployment is carried out."""

    store: Store
    fence: Fence
    placement: Placing
    routers: Routing
    clock: Clock


@dataclass(frozen=True, slots=True)
class Looking:
    """The wait for an effect to show everywhere."""

    key: str
    task: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class Sampling:
    """The count of the phase that holds now."""

    key: str
    sampler: Sampler


class Watcher:
    def __init__(self, stored: Stored[Deployment], means: Means, *, watched: datetime | None = None) -> None:
        """`watched`: since when it was watched, by one before this too; a fault must not put its deadlines off."""
        self._means = means
        self._stored = stored
        self._alias: Stored[Alias] | None = None
        self.watched = watched or means.clock()
        self._wake = asyncio.Event()
        self._stale = True
        """What is known of the store may be old: read before anything else."""
        self._deleted = False
        self._looking: Looking | None = None
        self._broke: Broke | None = None
        """The effect of the present step could not be made."""
        self._sampling: Sampling | None = None

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

    async def run(self) -> None:
        """Returns when the deployment has ended. Raises `NotLeader` when somebody else leads."""
        try:
            while not self._deleted and (self._stale or not self.deployment.status.terminal):
                self._wake.clear()
                try:
                    await self._turn()
                except errors.Conflict:
                    self._stale = True
                except (errors.Unavailable, errors.Invalid, kv.KVError) as error:
                    self._stale = True
                    log.warning("%s waits: %s", self.deployment.id, error)
                    await asyncio.sleep(RETRY_AFTER)
        finally:
            await self._look_away()
            await self._stop_sampling()

    async def _turn(self) -> None:
        if self._stale:
            await self._reload()
        if self._deleted or self.deployment.status.terminal:
            return
        known = self._stored, self._alias
        observation = await self._observe()
        if known != (self._stored, self._alias):
            return  # somebody wrote meanwhile: what would be decided about the old is not to be written over the new
        decision = decide(self.deployment, observation, self._means.clock())
        match decision:
            case Wait(until=until):
                await self._wait(until)
            case Act(step=step):
                await self._act(step)
            case _:
                await self._commit(decision)

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
        """Until then, or until something changes, or until the routers are to be asked again."""
        now = self._means.clock()
        ends = [until] if until else []
        if isinstance(steps.present(self.deployment), Bake):
            ends.append(now + SAMPLE_EVERY)
        limit = max(0.0, (min(ends) - now).total_seconds()) if ends else None
        try:
            async with asyncio.timeout(limit):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _observe(self) -> Observation:
        alias, seen = self._alias, await self._seen()
        judged = self._is_due()
        return Observation(
            alias=alias.value if alias else None,
            alias_revision=alias.mod_revision if alias else 0,
            created=self._stored.create_revision,
            watched=self.watched,
            seen=seen,
            serving=await self._serving() if judged else frozenset(),
            counted=await self._counted(),
        )

    def _ends(self, step: Bake) -> datetime:
        """When the phase that holds now is over."""
        progress = self.deployment.progress
        return (progress.observed or progress.entered) + step.duration

    def _is_due(self) -> bool:
        """Whether more may come of it than waiting: a phase that has time left is judged by nobody."""
        step = steps.present(self.deployment)
        if self.deployment.asked or not isinstance(step, Bake):
            return True
        return self._means.clock() >= self._ends(step)

    async def _serving(self) -> frozenset[int]:
        """Of the versions that the way back starts, those that have an instance ready."""
        if steps.goes_back(self.deployment.status):
            return frozenset()
        wanted = [step.version for step in self.deployment.way_back if isinstance(step, Start)]
        return frozenset([version for version in wanted if await self._serves(version)])

    async def _serves(self, version: int) -> bool:
        found = await self._means.store.endpoints.list(self.deployment.function, version)
        return any(not stored.value.withdrawn for stored in found)

    async def _counted(self) -> Tally | Uncounted:
        step = steps.present(self.deployment)
        if not isinstance(step, Bake) or self.deployment.status is not Status.RUNNING:
            await self._stop_sampling()
            return Uncounted()
        sampler = await self._sampler(step)
        if self._means.clock() < self._ends(step):
            sampler.keep(every=SAMPLE_EVERY)
            return Uncounted()
        return sampler.counted(since=self._ends(step))

    async def _sampler(self, step: Bake) -> Sampler:
        deployment, key = self.deployment, steps.key(self.deployment)
        if self._sampling and self._sampling.key == key:
            return self._sampling.sampler
        await self._stop_sampling()
        phase = Phase(
            self._means.routers,
            function=deployment.function,
            alias=deployment.alias,
            version=step.version,
            since=deployment.progress.effect,
        )
        sampler = Sampler(phase, clock=self._means.clock, wake=self._wake.set)
        self._sampling = Sampling(key, sampler)
        return sampler

    async def _stop_sampling(self) -> None:
        if self._sampling:
            await self._sampling.sampler.stop()
            self._sampling = None

    async def _seen(self) -> Seen:
        if self._broke:
            return self._broke
        step = steps.present(self.deployment)
        active = self.deployment.status in {Status.RUNNING, Status.ROLLING_BACK}
        alias = self._alias.value if self._alias else None
        if not active or isinstance(step, Bake) or not written(self.deployment, alias):
            await self._look_away()
            return Pending()
        key = steps.key(self.deployment)
        if self._looking is None or self._looking.key != key:
            await self._look_away()
            self._looking = Looking(key, self._look(step))
        if not self._looking.task.done():
            return Pending()
        try:
            self._looking.task.result()
        except StartFailed as failure:
            return Broke(str(failure))
        return Shows()

    def _look(self, step: Start | Shift | Retire) -> asyncio.Task[None]:
        task = asyncio.create_task(self._until_it_shows(step), name=f"{self.deployment.id}: {steps.describe(step)}")
        task.add_done_callback(lambda _: self._wake.set())
        return task

    async def _until_it_shows(self, step: Start | Shift | Retire) -> None:
        means, function = self._means, self.deployment.function
        while True:
            try:
                match step:
                    case Start():
                        return await means.placement.started(function, step.version)
                    case Shift():
                        return await means.routers.applied("aliases", self._alias.mod_revision if self._alias else 0)
                    case Retire():
                        return await means.placement.retired(function, step.version)
                    case _:
                        assert_never(step)
            except (errors.Unavailable, kv.KVError) as error:
                log.warning("%s waits: %s", self.deployment.id, error)
                await asyncio.sleep(RETRY_AFTER)

    async def _look_away(self) -> None:
        if self._looking:
            self._looking.task.cancel()
            await asyncio.gather(self._looking.task, return_exceptions=True)
            self._looking = None

    async def _act(self, step: Start | Shift | Retire) -> None:
        placement, function = self._means.placement, self.deployment.function
        match step:
            case Start():
                try:
                    revision = await placement.assign(function, step.version)
                except StartFailed as failure:
                    if steps.goes_back(self.deployment.status):  # nodes may be back before the step's time is over
                        raise errors.Unavailable(str(failure)) from failure
                    self._broke = Broke(str(failure))
                    return
                await self._made(revision, News("node", f"version {step.version} is assigned to its nodes"))
            case Shift():
                await self._shift(step)
            case Retire():
                settled = await self._unless_woken(placement.settle(function))
                if settled is None:
                    return
                await self._made(settled, News("node", f"version {step.version} is taken from its nodes"))
            case _:
                assert_never(step)

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
        await self._write(after, events)

    async def _shift(self, step: Shift) -> None:
        now = self._means.clock()
        news = News("weights", f"{self.deployment.alias}: {steps.shares(step.weights)}")
        after, events = transition.told(self.deployment, [news], now)
        await self._write(
            after,
            events,
            alias=transition.shifted(self._alias.value if self._alias else None, step, self.deployment, now),
        )

    async def _commit(self, decision: Change) -> None:
        now = self._means.clock()
        after, events = transition.change(self.deployment, decision, now)
        if after.status.terminal:
            await self._end(after, events)
        else:
            await self._write(after, events)
        self._broke = None
        log.info("%s: %s", after.id, "; ".join(event.text for event in events))

    async def _end(self, after: Deployment, events: list[Event]) -> None:
        """The record ends, the alias is free, and after a success it knows its last good version: all at once."""
        store, stored, alias = self._means.store, self._stored, self._alias  # as they were when this was decided
        active = await store.active.get(after.function, after.alias)
        transaction = store.transaction(self._means.fence).replace(stored, after)
        for event in events:
            transaction.create(event)
        if active and active.value.deployment == after.id:
            transaction.delete(active)
        if alias and after.status is Status.SUCCEEDED:
            transaction.replace(alias, transition.settled(alias.value))
        await self._committed(transaction, after, alias=None)

    async def _write(self, after: Deployment, events: list[Event], *, alias: Alias | None = None) -> None:
        transaction = self._means.store.transaction(self._means.fence).replace(self._stored, after)
        for event in events:
            transaction.create(event)
        if alias:
            transaction.put(alias, over=self._alias)
        await self._committed(transaction, after, alias=alias)

    async def _committed(self, transaction: Transaction, after: Deployment, *, alias: Alias | None) -> None:
        revision = await transaction.commit()
        if revision > self._stored.mod_revision:
            self._stored = Stored(after, self._stored.key, self._stored.create_revision, revision)
        if alias:
            created = self._alias.create_revision if self._alias else revision
            self.offer_alias(Stored(alias, self._means.store.key_of(alias), created, revision))
