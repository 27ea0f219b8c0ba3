"""Plays rollouts and A/B tests by the thousand and counts what the judge would have done; `judge_report` says what it
should have."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, log
from random import Random

from hotswap.judge.basis import Epoch
from hotswap.judge.compare import LEAST_UNITS, compare
from hotswap.judge.guard import FALSE_ALARMS, LEAST_BAD, evidence_against_stable, evidence_over
from hotswap.judge.measures import Seen
from hotswap.judge.sequence import ALPHA, Sample, contrast, p_value
from hotswap.metrics import Tally
from hotswap.usage import Reported, Usage
from hotswap.users import CELLS, GROUP_CELLS, GROUPS

DECIDES = log(1 / FALSE_ALARMS)
LOOKS = 20_000
"""Invocations of a healthy version, each of which is followed by a look."""
NEVER = 1_000_000
"""Invocations after which a rollback is not waited for any more."""
CHECK = 50
"""Units per arm between two looks at an A/B test."""
ARM = 10_000
"""Units that each arm of an A/B test gets."""
PLANNED = 4_000
"""Units of both arms that it was planned for. One that goes on past its plan is wrong more often, up to 5 %."""
NAIVE = 1.96
"""Deviations at which a test that may be looked at once calls a difference at 5 %."""


AGAIN = 9
"""Visits of those who have been there, for each new user."""
REGULARS = 2_000
"""Users that each arm of a test gets whose users come again."""
REGULARS_PLANNED = 2_000
"""Of both arms."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A canary that fails at `rate` against the limit `tau`."""

    rate: float
    tau: float

    def rolled_back(self, random: Random, *, floor: int, until: int) -> int | None:
        """After how many invocations of the canary, if ever."""
        for bad, at in enumerate(bad_at(random, self.rate, until=until), start=1):
            if bad >= floor and bad > self.tau * at and evidence_over(bad, at, self.tau) >= DECIDES:
                return at
        return None


@dataclass(frozen=True, slots=True)
class Beside:
    """A canary that fails at `rate` beside a stable version, with exactly the share `weight` of the traffic."""

    rate: float
    stable: float
    weight: float = 0.1

    def rolled_back(self, random: Random, *, floor: int, until: int) -> int | None:
        each = (1 - self.weight) / self.weight
        theirs = bad_at(random, self.stable, until=ceil(until * each))
        beside, following = 0, next(theirs, None)
        for bad, at in enumerate(bad_at(random, self.rate, until=until), start=1):
            while following is not None and following <= at * each:
                beside, following = beside + 1, next(theirs, None)
            seen = Epoch(invocations=at, errors=bad, beside=round(at * each), beside_errors=beside)
            if bad >= floor and evidence_against_stable([seen], 1) >= DECIDES:
                return at
        return None


Rollout = Limit | Beside

SPEED: list[tuple[str, Rollout, tuple[int, int]]] = [
    *(
        (f"G1, limit 1 %, fails {rate:.0%}", Limit(rate, 0.01), told)
        for rate, told in ((1.0, (2, 2)), (0.5, (3, 9)), (0.2, (13, 32)), (0.1, (42, 98)), (0.05, (152, 340)))
    ),
    *(
        (f"G1, limit 5 %, fails {rate:.0%}", Limit(rate, 0.05), told)
        for rate, told in ((1.0, (2, 2)), (0.5, (5, 14)), (0.2, (39, 89)), (0.1, (305, 656)))
    ),
    *(
        (f"G2, stable {stable:.1%}, fails {rate:.0%}", Beside(rate, stable), told)
        for rate, stable, told in (
            (1.0, 0.001, (3, 3)),
            (0.5, 0.001, (6, 10)),
            (0.1, 0.001, (30, 56)),
            (0.05, 0.005, (99, 225)),
        )
    ),
]
"""What to expect: the median and the ninetieth percentile of invocations until a rollback."""

FALSE: list[tuple[str, Rollout, tuple[float, float]]] = [
    ("G1, exactly at the limit of 1 %", Limit(0.01, 0.01), (0.001, 0.001)),
    ("G1, exactly at the limit of 5 %", Limit(0.05, 0.05), (0.006, 0.006)),
    ("G2, both fail 1 %, canary has 10 %", Beside(0.01, 0.01), (0.004, 0.008)),
    ("G2, both fail 5 %, canary has 50 %", Beside(0.05, 0.05, 0.5), (0.004, 0.008)),
]
"""What to expect: the share of healthy rollouts that are rolled back within `LOOKS` looks."""


def bad_at(random: Random, rate: float, *, until: int) -> Iterator[int]:
    """Which invocations are bad. Evidence grows at these only, so it is enough to look at them."""
    at = _gap(random, rate)
    while at <= until:
        yield at
        at += _gap(random, rate)


def _gap(random: Random, rate: float) -> int:
    """Invocations up to and with the next bad one."""
    return max(1, ceil(log(1 - random.random()) / log(1 - rate))) if rate < 1 else 1


def ends(rollout: Rollout, *, runs: int, random: Random, floor: int = LEAST_BAD) -> list[int]:
    """After how many invocations each of the runs was rolled back, in ascending order."""
    return sorted(rollout.rolled_back(random, floor=floor, until=NEVER) or NEVER for _ in range(runs))


def false_rollbacks(rollout: Rollout, *, runs: int, random: Random, floor: int = LEAST_BAD) -> float:
    """The share of healthy rollouts that are rolled back."""
    return sum(rollout.rolled_back(random, floor=floor, until=LOOKS) is not None for _ in range(runs)) / runs


class Arm:
    """One version in an A/B test, by its sums."""

    def __init__(self, draw: Callable[[Random], float]) -> None:
        self._draw = draw
        self._units, self._sum, self._squares = 0, 0.0, 0.0

    def grow(self, random: Random, units: int) -> None:
        drawn = [self._draw(random) for _ in range(units)]
        self._units += units
        self._sum += sum(drawn)
        self._squares += sum(one * one for one in drawn)

    def sample(self) -> Sample:
        mean = self._sum / self._units
        return Sample(self._units, mean, max(0.0, self._squares / self._units - mean * mean))


class Visits:
    """One version in an A/B test whose users come again, each after their own kind: known to the judge by groups."""

    def __init__(self) -> None:
        self._users: list[tuple[int, float]] = []
        """The cell of each, and how fast they are answered."""
        self._cells = bytearray(CELLS // 8)
        self._buyers = bytearray(CELLS // 8)
        self._milliseconds, self._visits = [0.0] * GROUPS, [0] * GROUPS
        self._squares = 0.0

    def grow(self, random: Random, users: int) -> None:
        """By so many new ones; meanwhile `AGAIN` times as many come again. Each tenth user is one who buys."""
        for _ in range(users):
            cell = random.randrange(CELLS)
            self._cells[cell // 8] |= 1 << cell % 8
            self._users.append((cell, random.lognormvariate(3, 0.5)))
            if random.random() < 0.1:
                self._buyers[cell // 8] |= 1 << cell % 8
            self._visit(random, *self._users[-1])
            for _ in range(AGAIN):
                self._visit(random, *random.choice(self._users))

    def _visit(self, random: Random, cell: int, usual: float) -> None:
        took = usual * random.expovariate(1)
        self._milliseconds[cell // GROUP_CELLS] += took
        self._visits[cell // GROUP_CELLS] += 1
        self._squares += took * took

    def seen(self) -> Seen:
        size = GROUP_CELLS // 8
        who = {group: bytes(self._buyers[group * size : (group + 1) * size]) for group in range(GROUPS)}
        usage = Usage(
            users=bytes(self._cells),
            invocations=self._visits,
            errors=[0] * GROUPS,
            microseconds=[round(each * 1e3) for each in self._milliseconds],
            reported={"conversion": Reported(count=1, who=who)},
        )
        return Seen(Tally.zero(), usage)

    def by_visits(self) -> Sample:
        """As if each visit were another user's."""
        visits, total = sum(self._visits), sum(self._milliseconds)
        return Sample(visits, total / visits, self._squares / visits - (total / visits) ** 2)


def false_winners_of_regulars(name: str, *, runs: int, random: Random) -> tuple[float, float]:
    """The same where users come again: by users, and by invocations as if they were users."""
    tests = [_looked_at_regulars(name, random) for _ in range(runs)]
    return sum(ours for ours, _ in tests) / runs, sum(naive for _, naive in tests) / runs


def _looked_at_regulars(name: str, random: Random) -> tuple[bool, bool]:
    ours = naive = False
    a, b = Visits(), Visits()
    for _ in range(REGULARS // CHECK):
        a.grow(random, CHECK)
        b.grow(random, CHECK)
        seen = {1: a.seen(), 2: b.seen()}
        found = compare(seen, metrics=[name], weights={1: 50, 2: 50}, planned=REGULARS_PLANNED, complete=True)
        ours = ours or found.winner is not None
        alone = contrast(a.by_visits(), b.by_visits())
        naive = naive or p_value(alone, planned=REGULARS_PLANNED * (AGAIN + 1)) < ALPHA
    return ours, naive


METRICS: list[tuple[str, Callable[[Random], float]]] = [
    ("latency, exponential", lambda random: random.expovariate(1)),
    ("conversion of 3 %", lambda random: float(random.random() < 0.03)),
    ("revenue, log-normal", lambda random: random.lognormvariate(0, 1)),
]


def false_winners(draw: Callable[[Random], float], *, runs: int, random: Random) -> tuple[float, float]:
    """The shares of tests of two equal versions that name a winner at some look: by the sequence, and by a z-test."""
    tests = [_looked_at(draw, random) for _ in range(runs)]
    return sum(ours for ours, _ in tests) / runs, sum(naive for _, naive in tests) / runs


def _looked_at(draw: Callable[[Random], float], random: Random) -> tuple[bool, bool]:
    ours = naive = False
    a, b = Arm(draw), Arm(draw)
    a.grow(random, LEAST_UNITS)
    b.grow(random, LEAST_UNITS)
    for _ in range((ARM - LEAST_UNITS) // CHECK):
        a.grow(random, CHECK)
        b.grow(random, CHECK)
        seen = contrast(a.sample(), b.sample())
        ours = ours or p_value(seen, planned=PLANNED) < ALPHA
        naive = naive or abs(seen.value) > NAIVE * seen.error
    return ours, naive
