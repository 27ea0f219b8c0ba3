"""The counts of a deployment, asked for beside everything else: a router that hangs delays no verb and no rollback.

A sample tells when it was begun, since one that began before a phase was over does not serve for its judgement.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from controller.decision import Counted, Uncounted
from controller.metrics.routers import Trail
from hotswap.deployment import AwaitPromotion, Deployment
from hotswap.errors import Invalid, Unavailable
from hotswap.metrics import Tally
from hotswap.outcomes import usages
from hotswap.store import Store
from hotswap.usage import together

FRESH = timedelta(seconds=1)
"""A sample older than this is taken anew when a judgement waits for it."""
WHILE = timedelta(seconds=30)
"""Over which it is told how often the alias is invoked."""
LEAST_LAPSE = timedelta(seconds=1)
"""Two samples that are closer than this tell no rate: what is counted comes in bursts."""
SERVES = timedelta(seconds=6)
"""A sample may be this old when it is judged: a router has five seconds to answer the next one."""


Looks = Callable[[datetime], Awaitable[Counted]]
"""Counts, asked for at that time. Raises `Unavailable`, and `Invalid` for what the store has and nobody can read."""


def tested(deployment: Deployment) -> bool:
    """Its versions are compared by what users do."""
    return any(isinstance(step, AwaitPromotion) for step in deployment.plan)


def looking(trail: Trail, deployment: Deployment, store: Store) -> Looks:
    """What is counted of the deployment; of a test its users and reports too, and the outcomes that were told later."""
    compared = tested(deployment)

    async def look(asked: datetime) -> Counted:
        tallies = await trail.tallies()
        begun = trail.at or asked
        if not compared:
            return Counted(tallies, begun, nodes=trail.nodes())
        listed = await store.outcomes.list(deployment.function, deployment.alias)
        return Counted(tallies, begun, together([trail.usages(), usages(stored.value for stored in listed)]))

    return look


class Sampler:
    def __init__(self, looks: Looks, *, clock: Callable[[], datetime], wake: Callable[[], None]) -> None:
        self._looks = looks
        self._clock = clock
        self._wake = wake
        self._last: Counted | Uncounted = Uncounted("the routers do not answer")
        self._failures = 0
        self._begun: datetime | None = None
        self._due: datetime | None = None
        """A sample that began before this is not fresh enough."""
        self._task: asyncio.Task[None] | None = None
        self._tallies: deque[tuple[datetime, Mapping[tuple[int, int], Tally]]] = deque()
        """Of the last while."""
        self._past: deque[tuple[datetime, int]] = deque()
        """The last while: when the routers were asked, and how many invocations there had been."""

    def counted(self, *, since: datetime) -> Counted | Uncounted:
        """The newest sample that is fresh enough to rest a judgement on; another is taken if none began after
        `since`."""
        now = self._clock()
        self._renew(since)
        if self._begun is None or self._begun < now - SERVES:
            return Uncounted("the routers do not answer")
        return self._last

    def hasten(self) -> None:
        """There is something new to count. A sample that is under way may have missed it: another one follows it."""
        self._due = self._clock()
        self._renew(self._due)

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _renew(self, oldest: datetime) -> None:
        """Asks the routers unless they are being asked, or were asked since then."""
        aged = self._begun is None or self._begun < max(oldest, self._due or oldest)
        if aged and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._sample(), name="sample")

    async def _sample(self) -> None:
        begun = self._clock()
        try:
            self._last = self._with_rate(self._with_earlier(await self._looks(begun)))
            self._failures = 0
        except (Unavailable, Invalid) as error:  # or outcomes that another hand has written
            self._failures += 1
            self._last = Uncounted(str(error), self._failures)
        self._begun = begun
        self._wake()

    def _with_earlier(self, counted: Counted) -> Counted:
        while len(self._tallies) > 1 and self._tallies[1][0] <= counted.begun - WHILE:
            self._tallies.popleft()
        self._tallies.append((counted.begun, counted.tallies))
        return replace(counted, earlier=self._tallies[0][1])

    def _with_rate(self, counted: Counted) -> Counted:
        now, invocations = counted.begun, counted.invocations
        while len(self._past) > 1 and self._past[1][0] <= now - WHILE:
            self._past.popleft()
        if not self._past or now > self._past[-1][0]:  # else it is what was told before, by somebody who keeps it
            self._past.append((now, invocations))
        earlier = [(at, some) for at, some in self._past if at <= now - LEAST_LAPSE]
        if not earlier:
            return counted
        (first, least), (before, fewer) = earlier[0], earlier[-1]
        return replace(
            counted, fresh=invocations - fewer, lapse=now - before, lately=invocations - least, span=now - first
        )
