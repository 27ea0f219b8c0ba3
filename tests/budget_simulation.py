"""Plays canaries with a harm budget over versions that are bad in every way, and counts what they cost.

The judge is the one that ships. Around it: invocations that come at random and take a while, routers that are asked
every two seconds, and changes of weight that hold after a while.
"""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import exp
from random import Random

from hotswap.judge.basis import SAMPLE_EVERY, Basis, Epoch, Exposure
from hotswap.judge.budget import complete, rate, unanswered, weigh
from hotswap.judge.guard import watch
from hotswap.judge.verdict import Outcome
from hotswap.metrics import Count, Tally
from hotswap.model import FULL_WEIGHT
from hotswap.requests import Limits

TICK = 0.25
"""Seconds."""
WORKERS = 4
"""Each with a split of its own that is exact."""
LOOKS = 15
"""Looks at the routers by which the rate of requests is told: half a minute."""
TOP = 600.0
"""Seconds for which the version has some of the traffic before it may have all."""
MOST = 3600.0
"""Seconds after which a rollout is given up; a person would be asked."""
RETIRES = 2.0
"""Seconds after the last change of weights until the deployment has ended."""
BEGIN = datetime(2025, 11, 23, tzinfo=UTC)

Failing = Callable[[float, Random], float]
"""The chance that an invocation fails, by the seconds since the version had its first traffic."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a run draws: how this one fails."""

    failing: Callable[[Random], Failing]
    hangs: float = 0.0
    """Seconds after which an invocation fails, where it does not fail at once."""


def steadily(rate: float) -> Version:
    return Version(lambda _: lambda seconds, random: rate)


def _late(random: Random) -> Failing:
    onset, rate = random.uniform(0, 1200), random.choice((0.2, 0.5, 1.0))
    return lambda seconds, _: rate if seconds > onset else 0.0


def _worsening(random: Random) -> Failing:
    slope = random.uniform(0.0001, 0.005)
    return lambda seconds, _: min(1.0, slope * seconds)


def _bursts(random: Random) -> Failing:
    every, lasts, phase = random.uniform(20, 300), random.uniform(1, 15), random.uniform(0, 300)
    return lambda seconds, _: 1.0 if (seconds + phase) % every < lasts else 0.0


VERSIONS: dict[str, Version] = {
    "always fails": steadily(1),
    "fails 50 %": steadily(0.5),
    "fails 20 %": steadily(0.2),
    "fails 5 %": steadily(0.05),
    "fails 2 %": steadily(0.02),
    "fails 1 %": steadily(0.01),
    "fails from some time on": Version(_late),
    "fails more and more": Version(_worsening),
    "fails in bursts": Version(_bursts),
    "hangs from some time on": Version(_late, hangs=30.0),
}
HEALTHY = steadily(0.001)
UNGUARDED = Limits(rollback_on_error_rate=None, rollback_on_error_ratio=None)
"""With which the budget alone ends a rollout."""


@dataclass
class Arm:
    """A version's invocations: how many were given to it, and what was counted of them."""

    given: int = 0
    due: list[tuple[float, bool]] = field(default_factory=list)
    """When those under way are answered, and whether they fail."""
    good: int = 0
    bad: int = 0

    @property
    def answered(self) -> int:
        return self.good + self.bad

    def answer(self, now: float) -> None:
        while self.due and self.due[0][0] <= now:
            _, failed = self.due.pop(0)
            self.bad, self.good = self.bad + failed, self.good + (not failed)


@dataclass(frozen=True, slots=True)
class Cost:
    failed: int
    """Of all that were given to the version until the deployment had ended."""
    seconds: float
    rolled_out: bool
    weight: int
    """The highest but the last."""


class Rollout:
    """One canary with a harm budget, from its first look to its end."""

    def __init__(
        self, version: Version, *, budget: int, rate: float, random: Random, limits: Limits, latency: float = 0.1
    ) -> None:
        self.random, self.rate, self.budget, self.limits, self.latency = random, rate, budget, limits, latency
        self.version, self.failing = version, version.failing(random)
        self.now, self.weight, self.since = 0.0, 0, 0.0
        self.credits = [random.random() for _ in range(WORKERS)]
        self.canary, self.stable = Arm(), Arm()
        self.level = (0, 0, 0, 0)
        """What both had answered, bad and all, when these weights began."""
        self.levels: list[tuple[int, Epoch]] = []
        """Those before, with their weights."""
        self.first: float | None = None
        self.coming: tuple[float, int] | None = None
        """When the next weight holds, and which."""
        self.looks = [(0.0, 0)]
        """When the routers were asked lately, and what they had answered."""
        self.told = [(0, 0)]
        """What the canary had answered by then, and what had failed."""
        self.highest = 0

    def play(self) -> Cost:
        asked, ends, done = 0.0, None, False
        while self.now < MOST and (ends is None or self.now < ends):
            self._tick()
            if self.coming and self.now >= self.coming[0]:
                self._take(self.coming[1])
                self.coming = None
                if done:
                    ends = self.now + RETIRES
            if ends is None and not done and self.coming is None and self.now >= asked + SAMPLE_EVERY.total_seconds():
                self.looks = [*self.looks[-LOOKS:], (self.now, self.canary.answered + self.stable.answered)]
                self.told = [*self.told[-LOOKS:], (self.canary.answered, self.canary.bad)]
                asked = self.now
                weight, done = self._decided()
                if weight is not None:
                    self.coming = (self.now + self.random.uniform(0.05, 0.8), weight)
        self.canary.answer(self.now + 3600)
        return Cost(self.canary.bad, self.now, done and self.weight == FULL_WEIGHT, self.highest)

    def _tick(self) -> None:
        self.now += TICK
        for _ in range(_poisson(self.random, self.rate * TICK)):
            worker = self.random.randrange(WORKERS)
            self.credits[worker] += self.weight / FULL_WEIGHT
            if self.credits[worker] >= 1:
                self.credits[worker] -= 1
                self._give()
            else:
                self.stable.given += 1
                self.stable.due.append((self.now + self.latency, self.random.random() < 0.001))
        self.canary.answer(self.now)
        self.stable.answer(self.now)

    def _give(self) -> None:
        self.first = self.now if self.first is None else self.first
        failed = self.random.random() < self.failing(self.now - self.first, self.random)
        self.canary.given += 1
        insort(self.canary.due, (self.now + (self.version.hangs or self.latency if failed else self.latency), failed))

    def _take(self, weight: int) -> None:
        self.levels.append((self.weight, self._epoch()))
        self.weight, self.since = weight, self.now
        self.highest = max(self.highest, weight if weight < FULL_WEIGHT else self.highest)
        self.level = (self.canary.bad, self.canary.answered, self.stable.bad, self.stable.answered)

    def _epoch(self) -> Epoch:
        bad, answered, beside_bad, beside = self.level
        return Epoch(
            invocations=self.canary.answered - answered,
            errors=self.canary.bad - bad,
            beside=self.stable.answered - beside,
            beside_errors=self.stable.bad - beside_bad,
        )

    def _decided(self) -> tuple[int | None, bool]:
        """The next weight, if it is another, and whether it is the last."""
        basis = self._basis()
        if self.weight and watch(basis):
            return 0, True
        found = weigh(basis)
        if found and found.outcome is not Outcome.PASS:
            return 0, True
        if found and found.value is not None:
            return int(found.value), False
        if self.first is not None and self.now - self.first >= TOP:
            match complete(basis).outcome:
                case Outcome.PASS:
                    return FULL_WEIGHT, True
                case Outcome.FAIL:
                    return 0, True
        return None, False

    def _basis(self) -> Basis:
        counts = Tally.zero().counts
        counts[Count.OK], counts[Count.STATUS] = self.canary.good, self.canary.bad
        level, stood = self._epoch(), self.now - self.since
        (first, least), (before, fewer), (_, answered) = self.looks[0], self.looks[-2], self.looks[-1]
        whole = (answered - least + 1) / (self.now - first) if first < before else None
        levels = [*self.levels, (self.weight, level)]
        return Basis(
            version=2,
            step=1,
            at=BEGIN + timedelta(seconds=self.now),
            tally=Tally(counts=counts),
            limits=self.limits,
            epochs=[epoch for _, epoch in levels],
            exposure=Exposure(
                budget=self.budget,
                weight=self.weight,
                rate=rate(answered - fewer, self.now - before, whole=whole),
                stood=timedelta(seconds=stood),
                age=timedelta(),
                answered=level.invocations,
                pending=unanswered(levels),
                latency=timedelta(seconds=self.latency),
                lately=self.canary.answered - self.told[0][0],
                lately_failed=self.canary.bad - self.told[0][1],
            ),
        )


def costs(version: Version, *, budget: int, rate: float, runs: int, random: Random, limits: Limits) -> list[Cost]:
    return [Rollout(version, budget=budget, rate=rate, random=random, limits=limits).play() for _ in range(runs)]


def _poisson(random: Random, mean: float) -> int:
    """Knuth's way, for a mean that is small, or the sum of some."""
    if mean > 30:
        return _poisson(random, mean / 2) + _poisson(random, mean / 2)
    limit, count, product = exp(-mean), 0, random.random()
    while product > limit:
        count, product = count + 1, product * random.random()
    return count
