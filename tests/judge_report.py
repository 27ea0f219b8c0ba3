"""What the judge did in thousands of played rollouts and A/B tests, beside the reference: both tables of the page that
its formulas are from, the false winners of A/B tests, healthy canaries, and what harm budgets cost.

    scripts/simulate-judge [--runs N] [--quick] [--seed N] [--part NAME]

A figure agrees if it is off by no more than `ERRORS` standard errors of so many runs. One that does not makes the exit
code 1. Each part has random numbers of its own, so it finds the same alone.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from random import Random

import click

from hotswap.judge.guard import FALSE_ALARMS, LEAST_BAD
from hotswap.judge.sequence import ALPHA
from hotswap.requests import Limits
from tests import healthy_simulation
from tests.budget_simulation import HEALTHY, UNGUARDED, VERSIONS, costs
from tests.judge_simulation import (
    AGAIN,
    FALSE,
    LOOKS,
    METRICS,
    SPEED,
    ends,
    false_rollbacks,
    false_winners,
    false_winners_of_regulars,
)

ERRORS = 3
"""Standard errors that are taken for noise."""
ROUNDED = 0.05
"""By which share a reference that is a number of invocations may be off by itself: it was simulated, too."""
DIGIT = 0.0005
"""By which a reference that is a share may be, as it is told to a tenth of a percent."""
SEQUENCE = (0.015, 0.041)
"""A/B tests of equal versions in which one wins though one looks all the time."""
NAIVE = (0.37, 0.47)
"""The same by a test that may be looked at once."""
KEPT = 0.99
"""Of the runs, those in which a harm budget is."""
HARM = 50
"""Invocations of a canary that may fail."""
RATES = (2.0, 20.0, 100.0)
"""Invocations per second of a canary with a harm budget."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    reference: str
    seen: str
    agrees: bool

    def __str__(self) -> str:
        return f"  {'' if self.agrees else 'OFF':4}{self.name:44} {self.reference:>18} {self.seen:>18}"


def noise(share: float, runs: int) -> float:
    return ERRORS * sqrt(share * (1 - share) / runs)


def between(name: str, seen: float, low: float, high: float, *, runs: int, more: str = "") -> Check:
    """A share of the runs that should be in between."""
    least, most = low - DIGIT, high + DIGIT
    fits = least - noise(least, runs) <= seen <= most + noise(most, runs)
    told = f"{low:.1%} to {high:.1%}" if low < high else f"{low:.1%}"
    return Check(name, told, f"{seen:.2%}{more}", fits)


def at_most(name: str, seen: float, high: float, *, runs: int) -> Check:
    return Check(name, f"≤ {high:.0%}", f"{seen:.2%}", seen <= high + noise(high, runs))


def reached(name: str, ended: list[int], share: float, reference: int) -> Check:
    """By so many invocations that share of the runs should have ended; `ended` is in ascending order."""
    runs = len(ended)
    by_then = bisect_right(ended, reference * (1 + ROUNDED)) / runs
    before = bisect_left(ended, reference * (1 - ROUNDED)) / runs
    fits = before - noise(share, runs) <= share <= by_then + noise(share, runs)
    return Check(f"{name}, {'median' if share == 0.5 else 'p90'}", str(reference), str(ended[int(runs * share)]), fits)


def speed(runs: int, random: Random) -> Iterator[Check]:
    """Invocations until a rollback."""
    for name, rollout, (median, late) in SPEED:
        ended = ends(rollout, runs=runs, random=random, floor=1)
        yield reached(name, ended, 0.5, median)
        yield reached(name, ended, 0.9, late)


def false(runs: int, random: Random) -> Iterator[Check]:
    """Healthy rollouts that end, though one looks after every invocation; then with the floor of bad ones."""
    for name, rollout, (low, high) in FALSE:
        yield between(name, false_rollbacks(rollout, runs=runs, random=random, floor=1), low, high, runs=runs)
        floored = false_rollbacks(rollout, runs=runs, random=random, floor=LEAST_BAD)
        yield at_most(f"  … of {LEAST_BAD} bad ones at least", floored, FALSE_ALARMS, runs=runs)


def winners(runs: int, random: Random) -> Iterator[Check]:
    """A/B tests of equal versions in which one wins: by the judge, and by a z-test that is looked at as often."""
    for name, draw in METRICS:
        ours, naive = false_winners(draw, runs=runs, random=random)
        yield between(name, ours, *SEQUENCE, runs=runs)
        yield between(f"{name}, by z", naive, *NAIVE, runs=runs)


def regulars(runs: int, random: Random) -> Iterator[Check]:
    """The same where each user comes several times."""
    runs = max(20, runs // 10)  # each is as much work as a dozen of the others
    for name in ("responseTime", "conversionRate"):
        ours, naive = false_winners_of_regulars(name, runs=runs, random=random)
        yield at_most(f"{name}, {AGAIN + 1} visits each", ours, ALPHA, runs=runs)
        if name == "responseTime":
            enough = naive >= NAIVE[0] - noise(NAIVE[0], runs)
            yield Check("  … if visits are taken for users", f"≥ {NAIVE[0]:.0%}", f"{naive:.2%}", enough)


def healthy(runs: int, random: Random) -> Iterator[Check]:
    """Canaries as good as the version beside them, through all phases. What chance may add is no part of the limit."""
    runs = max(100, runs // 4)
    ended = sum(healthy_simulation.rolled_back(random) is not None for _ in range(runs))
    yield Check(f"{runs} healthy canaries, rolled back", "≤ 1%", f"{ended / runs:.2%}", ended <= 0.01 * runs)


def budgets(runs: int, random: Random) -> Iterator[Check]:
    """Runs in which no more failed than may; then how many did in the median and at most."""
    runs = max(10, runs // 20)
    for name, version in {**VERSIONS, "healthy": HEALTHY}.items():
        for rate in RATES:
            for guarded, limits in (("guarded", Limits()), ("unguarded", UNGUARDED)):
                found = costs(version, budget=HARM, rate=rate, runs=runs, random=random, limits=limits)
                failed = sorted(cost.failed for cost in found)
                kept = sum(one <= HARM for one in failed) / runs
                told = f"{kept:.1%}, {failed[runs // 2]} / {failed[-1]}"
                fits = kept >= KEPT - noise(KEPT, runs)
                yield Check(f"{name}, {rate:g}/s, {guarded}", f"≥ {KEPT:.0%}", told, fits)


PARTS: dict[str, Callable[[int, Random], Iterator[Check]]] = {
    part.__name__: part for part in (speed, false, winners, regulars, healthy, budgets)
}


def checks(part: str, *, runs: int, seed: int) -> Iterator[Check]:
    return PARTS[part](runs, Random(f"{seed}/{part}"))


@click.command()
@click.option("--runs", default=4000, show_default=True, help="Rollouts and tests of each kind.")
@click.option("--quick", is_flag=True, help="200 runs.")
@click.option("--seed", default=1, show_default=True)
@click.option("--part", "parts", type=click.Choice(list(PARTS)), multiple=True, help="Only this; may be repeated.")
def main(runs: int, quick: bool, seed: int, parts: tuple[str, ...]) -> None:  # noqa: FBT001
    """Play rollouts, A/B tests and harm budgets by the thousand, and print what the judge did beside what it should."""
    off = 0
    for part in parts or PARTS:
        text = str(PARTS[part].__doc__).strip()
        click.echo(f"{part}: {text}\n      {'':44} {'reference':>18} {'seen':>18}")
        for check in checks(part, runs=200 if quick else runs, seed=seed):
            off += not check.agrees
            click.echo(check)
    click.echo(f"looks at a healthy version: {LOOKS}; {off} figures are off by more than {ERRORS} standard errors")
    raise SystemExit(1 if off else 0)


if __name__ == "__main__":
    main()
