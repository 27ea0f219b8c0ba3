"""What the judge can find out, and how soon: its formulas, solved for the sample that it takes. Pure.

The guard fails a version that has answered n invocations at the first count of bad ones that is evidence enough. Turned
round, that count is a threshold for each n, and the chance that a version which fails at a known rate has reached it is
a binomial tail. This leaves out that it may have been over the threshold before and under it again: so a chance
told here is a little too small, and a time a little too long. `tests/judge_simulation.py` shows by how much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, exp, floor, log

from hotswap.judge.basis import Epoch
from hotswap.judge.beta import log_betainc
from hotswap.judge.guard import FALSE_ALARMS, LEAST_BAD, evidence_against_stable, evidence_over
from hotswap.requests import Limits


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a version and the stable one beside it answer while the weights stand."""

    invocations: float
    beside: float


def found_by(rate: float, stretches: Sequence[Stretch], limits: Limits, *, stable: float) -> float:
    """The chance that the guard has failed a version by the end of the stretches. The version fails at `rate`, the one
    beside it at `stable`."""
    count = round(sum(one.invocations for one in stretches))
    needed = log(max(1, _limits_set(limits)) / FALSE_ALARMS)
    chances = [at_least(_least_over(count, tau, needed), count, rate) for tau in limits_of(limits)]
    if limits.rollback_on_error_ratio is not None:
        chances.append(_found_beside(rate, stretches, limits.rollback_on_error_ratio, needed, stable))
    return max(chances, default=0.0)


def breaks_limit(rate: float, stretch: Stretch, limits: Limits) -> float:
    """The chance that the limits are found broken when a phase ends in which a version fails at `rate`."""
    count = round(stretch.invocations)
    if count < limits.min_invocations:
        return 0.0
    return max((at_least(floor(tau * count) + 1, count, rate) for tau in limits_of(limits)), default=0.0)


def limits_of(limits: Limits) -> list[float]:
    """The shares of invocations that may fail."""
    least = limits.rollback_on_success_rate
    return [it for it in (limits.rollback_on_error_rate, None if least is None else 1 - least) if it is not None]


def tolerated(limits: Limits, *, stable: float) -> float:
    """The highest rate at which a version may fail: the guard is not meant to find it."""
    ratio = limits.rollback_on_error_ratio
    return min([*limits_of(limits), *([] if ratio is None else [ratio * stable])], default=1.0)


def at_least(bad: int, invocations: int, rate: float) -> float:
    """The chance of that many bad ones or more."""
    if bad <= 0:
        return 1.0
    if bad > invocations:
        return 0.0
    return exp(log_betainc(bad, invocations - bad + 1, rate))


def smallest(holds: Callable[[int], bool], *, most: int) -> int | None:
    """The smallest number from 1 on for which it holds, if it goes on to hold from there; `None` where `most` does
    not."""
    if most < 1 or not holds(most):
        return None
    fails, found = 0, most
    while found - fails > 1:
        middle = (fails + found) // 2
        fails, found = (fails, middle) if holds(middle) else (middle, found)
    return found


def _limits_set(limits: Limits) -> int:
    """As the guard counts them, beside a stable version."""
    latency, ratio = limits.rollback_on_latency_p99, limits.rollback_on_error_ratio
    return len(limits_of(limits)) + sum(it is not None for it in (latency, ratio))


def _least_over(invocations: int, tau: float, needed: float) -> int:
    """How many bad ones are evidence enough against a limit; more than there are where none suffice."""
    above = max(LEAST_BAD, ceil(tau * invocations))
    found = smallest(lambda it: evidence_over(above + it - 1, invocations, tau) >= needed, most=invocations - above + 1)
    return invocations + 1 if found is None else above + found - 1


def _found_beside(rate: float, stretches: Sequence[Stretch], ratio: float, needed: float, stable: float) -> float:
    """As if the version beside it failed exactly as often as it does on average."""
    shared = [one for one in stretches if round(one.invocations) and round(one.beside)]
    count = round(sum(one.invocations for one in shared))

    def enough(bad: int) -> bool:
        return evidence_against_stable(_epochs(bad / count, shared, stable), ratio) >= needed

    least = smallest(lambda it: enough(LEAST_BAD + it - 1), most=count - LEAST_BAD + 1)
    return 0.0 if least is None else at_least(LEAST_BAD + least - 1, count, rate)


def _epochs(rate: float, stretches: Sequence[Stretch], stable: float) -> list[Epoch]:
    """With errors that are whole in each and right in the sum."""
    epochs: list[Epoch] = []
    errors, beside = _Whole(), _Whole()
    for one in stretches:
        epochs.append(
            Epoch(
                invocations=round(one.invocations),
                errors=errors.next(rate * one.invocations),
                beside=round(one.beside),
                beside_errors=beside.next(stable * one.beside),
            )
        )
    return epochs


class _Whole:
    """Whole numbers in the place of fractions, never off by more than a half in the sum."""

    def __init__(self) -> None:
        self._sum, self._told = 0.0, 0

    def next(self, amount: float) -> int:
        self._sum += amount
        whole = round(self._sum) - self._told
        self._told += whole
        return whole
