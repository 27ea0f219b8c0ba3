"""Which endpoint of a version takes an invocation. Decides only: clocks and random numbers are passed in.

Of two endpoints chosen at random the one with less to do takes it (M. Mitzenmacher, "The power of two choices in
randomized load balancing"): less of (in flight + 1) times latency, where the latency follows a rise at once and forgets
it over ten seconds (peak EWMA, as in Finagle). Until both have been measured, the one with less in flight takes it.

An endpoint never has more in flight than its concurrency allows; see `share` for several workers.

A standby endpoint is one that no process stands behind yet: the first connection to it wakes one. It takes an
invocation only when those that are awake have no room, and then the first of them by an order that all workers share,
until that is full: so as few are woken as will do. One that answered is awake, whatever its entry says. One that broke
is left alone for a moment: its agent takes it away, or is itself away.

Five failures in a row eject an endpoint for 30 s, twice that the second time, and so on. A failure is a connection that
cannot be made or breaks, or a time-out; a 5xx is an answer. When the time is over one invocation probes it: a success
brings it back, a failure ejects it again. At most a tenth of the endpoints is ejected (but always one may be), and
under 50 % healthy ones all are used: then the fault is elsewhere.
"""

import math
import random
from collections.abc import Collection, Iterable
from typing import Final

from router.table import EndpointEntry

DECAY_SECONDS: Final = 10.0
FAILURES_TO_EJECT: Final = 5
EJECTION_SECONDS: Final = 30.0
MOST_EJECTED: Final = 0.1
LEAST_HEALTHY: Final = 0.5
STANDBY_SECONDS: Final = 2.0
"""For which a standby endpoint that failed is left alone."""
RETRY_SHARE: Final = 0.2
RETRY_RESERVE: Final = 10.0
"""Retries that are free before any requests have earned them."""


def share(concurrency: int, workers: int) -> int:
    """What one worker may have in flight at an endpoint: workers do not see each other's."""
    return max(1, math.ceil(concurrency / workers))


class Load:
    """One endpoint as this worker sees it."""

    __slots__ = (
        "answers",
        "ejected_until",
        "ejections",
        "entry",
        "errors",
        "failures",
        "in_flight",
        "latency",
        "limit",
        "measured",
        "probing",
        "standby",
    )

    def __init__(self, entry: EndpointEntry, *, limit: int) -> None:
        self.entry = entry
        self.limit = limit
        self.answers = 0
        """Invocations that were answered or failed here, ..."""
        self.errors = 0
        """... and of these those that failed, be it by what was answered: an error that the endpoint is not ejected for
        may still be its node's."""
        self.in_flight = 0
        self.latency = 0.0
        """Seconds; 0 until it is measured."""
        self.measured = 0.0
        """When `latency` was."""
        self.failures = 0
        """In a row."""
        self.ejections = 0
        self.ejected_until: float | None = None
        self.probing = False
        self.standby = entry.standby
        """Not known to be awake."""

    def __repr__(self) -> str:
        return f"<Load {self.entry.instance} in_flight={self.in_flight} failures={self.failures}>"

    def cost(self, now: float) -> float:
        return (self.in_flight + 1) * self.latency * math.exp((self.measured - now) / DECAY_SECONDS)

    def measure(self, seconds: float, now: float) -> None:
        faded = math.exp((self.measured - now) / DECAY_SECONDS)
        known = self.latency * faded
        self.latency = seconds if seconds > known else known + seconds * (1 - faded)
        self.measured = now

    def out(self, now: float) -> bool:
        """Whether it is ejected, and not due for a probe."""
        return self.ejected_until is not None and (self.probing or now < self.ejected_until)


class Group:
    """The endpoints of one version."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._loads: list[Load] = []
        """Those that are awake."""
        self._standby: list[Load] = []
        """In the order in which they are woken."""
        self._ejected = 0
        """How many are ejected, due for a probe or not."""

    @property
    def loads(self) -> Collection[Load]:
        return [*self._loads, *self._standby] if self._standby else self._loads

    def replace(self, loads: Iterable[Load]) -> None:
        """Other endpoints, from the next pick on; a `Load` that stays keeps what is known of it."""
        everyone = list(loads)
        self._loads = [load for load in everyone if not load.standby]
        # by the end of the name, which is random: by its beginning the same node would be the first for all versions
        self._standby = sorted((load for load in everyone if load.standby), key=lambda load: load.entry.instance[::-1])
        self._ejected = sum(load.ejected_until is not None for load in self._loads)

    def pick(self, now: float, *, avoid: Collection[Load] = ()) -> Load | None:
        """The endpoint that takes an invocation; `None` when none can take it now. To be handed back once: to `done`,
        `failed` or `release`."""
        if not (self._ejected or avoid) and (load := self._either(now)):
            load.in_flight += 1
            return load
        everyone = len(self._loads) * LEAST_HEALTHY > sum(not load.out(now) for load in self._loads)
        able = [
            load
            for load in self._loads
            if load.in_flight < load.limit and (everyone or not load.out(now)) and load not in avoid
        ]
        if not able:
            return self._wakes(now, avoid) if self._standby else None
        picked = able[0]
        if len(able) > 1:
            one, other = self._two(able)
            picked = _better(one, other, now)
        picked.in_flight += 1
        picked.probing = picked.ejected_until is not None
        return picked

    def answered(self, load: Load, now: float, *, latency: float) -> None:
        """It is sound: its first byte took so long. It is busy until its answer has ended."""
        load.answers += 1
        if load.standby:
            self._awake(load)
            return
        load.measure(latency, now)
        load.failures = 0
        if load.ejected_until is not None:
            load.ejected_until, load.ejections, load.probing = None, 0, False
            self._ejected = sum(other.ejected_until is not None for other in self._loads)

    def done(self, load: Load, now: float, *, latency: float) -> None:
        """Answered, and at an end with it."""
        load.in_flight -= 1
        self.answered(load, now, latency=latency)

    def failed(self, load: Load, now: float) -> bool:
        """Whether that ejected it."""
        load.in_flight -= 1
        load.failures += 1
        load.answers += 1
        load.errors += 1
        if load.standby:
            load.ejected_until = now + STANDBY_SECONDS
            return False
        return self._eject(load, now)

    def release(self, load: Load) -> None:
        """The end of an invocation that says nothing more about its endpoint."""
        load.in_flight -= 1
        load.probing = False

    def _either(self, now: float) -> Load | None:
        """The pick while all are well and none is full: without a look at those that are not chosen."""
        loads = self._loads
        if len(loads) < 2:
            return loads[0] if loads and loads[0].in_flight < loads[0].limit else None
        one, other = self._two(loads)
        if one.in_flight < one.limit and other.in_flight < other.limit:
            return _better(one, other, now)
        return None

    def _wakes(self, now: float, avoid: Collection[Load]) -> Load | None:
        for load in self._standby:
            if load.in_flight < load.limit and not load.out(now) and load not in avoid:
                load.in_flight += 1
                return load
        return None

    def _awake(self, load: Load) -> None:
        """How long its first answer took tells nothing of the next ones."""
        load.standby = False
        load.failures, load.ejected_until = 0, None
        if load in self._standby:
            self._standby.remove(load)
            self._loads.append(load)

    def _two(self, able: list[Load]) -> tuple[Load, Load]:
        one = int(self._rng.random() * len(able))
        other = int(self._rng.random() * (len(able) - 1))
        return able[one], able[other + (other >= one)]

    def _eject(self, load: Load, now: float) -> bool:
        failed_probe = load.ejected_until is not None
        most = max(1, int(len(self._loads) * MOST_EJECTED))
        if not failed_probe and (load.failures < FAILURES_TO_EJECT or self._ejected >= most):
            return False
        load.ejections += 1
        load.ejected_until = now + EJECTION_SECONDS * load.ejections
        load.probing = False
        self._ejected = sum(other.ejected_until is not None for other in self._loads)
        return True


def _better(one: Load, other: Load, now: float) -> Load:
    if not (one.latency and other.latency):
        return one if one.in_flight <= other.in_flight else other
    return one if one.cost(now) <= other.cost(now) else other


class RetryBudget:
    """Lets a fifth of the requests be sent again, so that retries never multiply a load that is too high already."""

    def __init__(self) -> None:
        self._left = RETRY_RESERVE

    def earn(self) -> None:
        if self._left < RETRY_RESERVE:
            self._left = min(self._left + RETRY_SHARE, RETRY_RESERVE)

    def spend(self) -> bool:
        if self._left < 1:
            return False
        self._left -= 1
        return True
