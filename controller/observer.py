"""What is known of a deployment when its next step is decided: whether an effect shows, and what the routers count.

Both are waited for beside everything else: a node that does not start, or a router that hangs, delays neither a verb
nor a rollback.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from controller import steps
from controller.decision import Broke, Counted, Observation, Pending, Seen, Shows, Uncounted
from controller.launch import StartFailed
from controller.means import Means, TestsFailed
from controller.metrics.routers import Trail
from controller.ready import ready
from controller.sampling import FRESH, Sampler, looking, tested
from controller.traffic import written
from hotswap import errors, kv
from hotswap.deployment import Bake, Deployment, EffectStep, HoldingStep, Retire, Shift, Start, Status, Test
from hotswap.judge.basis import SAMPLE_EVERY
from hotswap.model import Alias
from hotswap.store import Stored

log = logging.getLogger(__name__)

RETRY_AFTER = 0.3
"""Seconds before what failed for the store, an agent or a router is tried again."""


@dataclass(frozen=True, slots=True)
class Looking:
    """The wait for an effect to show everywhere."""

    key: str
    task: asyncio.Task[Shows]


class Observer:
    def __init__(self, means: Means, *, watched: datetime, wake: Callable[[], None]) -> None:
        """`wake` is called whenever there is something new to observe."""
        self._means = means
        self._watched = watched
        self._wake = wake
        self._looking: Looking | None = None
        self._broke: Broke | None = None
        self._sampler: Sampler | None = None

    async def observe(self, deployment: Deployment, alias: Stored[Alias] | None, *, turn: bool) -> Observation:
        return Observation(
            alias=alias.value if alias else None,
            alias_revision=alias.mod_revision if alias else 0,
            watched=self._watched,
            seen=await self._seen(deployment, alias),
            counted=self._counted(deployment),
            turn=turn,
        )

    async def serving(self, deployment: Deployment) -> frozenset[int]:
        """Of the versions that the way back starts, those that have an instance ready."""
        wanted = {step.version for step in deployment.way_back if isinstance(step, Start)}
        return frozenset([version for version in sorted(wanted) if await self._serves(deployment.function, version)])

    def sample(self, deployment: Deployment) -> None:
        """Has the routers asked, unless they were within `SAMPLE_EVERY`."""
        self._sampling(deployment).counted(since=self._means.clock() - SAMPLE_EVERY)

    def sample_now(self, deployment: Deployment) -> None:
        """Has the routers asked for what has just happened."""
        self._sampling(deployment).hasten()

    def broke(self, why: str) -> None:
        """The effect of the present step cannot be made."""
        self._broke = Broke(why)

    def doubt(self) -> None:
        """Something was written in between: a node that came may have yet to start what was seen as started."""
        looking = self._looking
        if looking and _has(looking.task) and looking.task.result().nodes:
            self._looking = None

    def moved_on(self) -> None:
        """The step that was present is so no more."""
        self._broke = None

    async def close(self) -> None:
        await self._look_away()
        if self._sampler:
            await self._sampler.stop()

    async def _serves(self, function: str, version: int) -> bool:
        store = self._means.store
        return bool(ready(await store.endpoints.list(function, version), await store.nodes.list()))

    def _counted(self, deployment: Deployment) -> Counted | Uncounted:
        if steps.watched(deployment) is None:
            return Uncounted()
        step, now = steps.present(deployment), self._means.clock()
        oldest = now - SAMPLE_EVERY
        if isinstance(step, Bake) and deployment.status is Status.RUNNING:
            ends = (deployment.progress.observed or deployment.progress.entered) + step.duration
            oldest = max(ends, now - FRESH) if now >= ends else oldest
        return self._sampling(deployment).counted(since=oldest)

    def _sampling(self, deployment: Deployment) -> Sampler:
        """One for all of the deployment: what it has seen of routers that are gone counts on."""
        if self._sampler is None:
            counts = self._means.routers if tested(deployment) else self._means.counts or self._means.routers
            trail = Trail(
                counts,
                function=deployment.function,
                alias=deployment.alias,
                since=deployment.traffic_since,
            )
            looks = looking(trail, deployment, self._means.store)
            self._sampler = Sampler(looks, clock=self._means.clock, wake=self._wake)
        return self._sampler

    async def _seen(self, deployment: Deployment, alias: Stored[Alias] | None) -> Seen:
        if self._broke:
            return self._broke
        if deployment.status not in {Status.RUNNING, Status.ROLLING_BACK}:
            await self._look_away()
            return Pending()
        step = steps.present(deployment)
        soaks = isinstance(step, Test) and self._means.clock() < deployment.progress.entered + step.soak
        if isinstance(step, HoldingStep) or soaks or not written(deployment, alias.value if alias else None):
            await self._look_away()
            return Pending()
        return await self._look_at(step, deployment, alias.mod_revision if alias else 0)

    async def _look_at(self, step: EffectStep, deployment: Deployment, weights: int) -> Seen:
        key = steps.key(deployment)
        if self._looking is None or self._looking.key != key:
            await self._look_away()
            work = self._until_it_shows(step, deployment, weights)
            task = asyncio.create_task(work, name=f"{deployment.id}: {steps.describe(step)}")
            task.add_done_callback(lambda _: self._wake())
            self._looking = Looking(key, task)
        if not self._looking.task.done():
            return Pending()
        try:
            return self._looking.task.result()
        except (StartFailed, TestsFailed) as failure:
            return Broke(str(failure))

    async def _until_it_shows(self, step: EffectStep, deployment: Deployment, weights: int) -> Shows:
        while True:
            try:
                return await self._shows(step, deployment, weights)
            except (errors.Unavailable, kv.KVError) as error:
                log.warning("%s waits: %s", deployment.id, error)
                await asyncio.sleep(RETRY_AFTER)

    async def _shows(self, step: EffectStep, deployment: Deployment, weights: int) -> Shows:
        means = self._means
        match step:
            case Start():
                return Shows(nodes=await means.placement.started(deployment.function, step))
            case Shift():
                await means.routers.applied("aliases", weights)
            case Test():
                return Shows(await means.testing.tested(deployment, step))
            case Retire():
                await means.placement.retired(deployment.function, step)
            case _:
                assert_never(step)
        return Shows()

    async def _look_away(self) -> None:
        if self._looking:
            self._looking.task.cancel()
            await asyncio.gather(self._looking.task, return_exceptions=True)
            self._looking = None


def _has(task: asyncio.Task[Shows]) -> bool:
    """It is done, and well."""
    return task.done() and not task.cancelled() and task.exception() is None
