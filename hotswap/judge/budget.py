"""A harm budget: how much of the traffic a version may have, if only so many of its invocations are to fail. Pure.

Two things bound the weight, and both look at what is left of the budget.

*What may come at once.* A version that was fine may fail with the next invocation, each time. From then on it goes on
failing until the routers have been asked, the change was decided and written, and they have it; and what it was given
before that fails too, be it counted yet or not. All of that has to fit into what is left, as if it failed whole: so the
budget holds whatever the version does, as long as the rate of invocations does not jump.

*What has been seen.* A version of which little is known may fail at any rate. The upper confidence bound of its failure
rate holds at all times at once, as the guard's evidence does, and is 1 at the beginning. A weight is raised only if
failing at that bound for `LEVEL` costs no more than a share of what is left.

The weight grows by steps, and falls as the budget does. Where not even 1 % can be borne, the version goes back. It does
not grow over `HIGHEST`, since the version beside it tells what this one was given and has not answered, and how often
one may fail these days; with less than half of the traffic that tells too little. When the version has had traffic for
long enough the limits are judged, and if the bound is low enough for all of the traffic it gets that.
"""

from collections.abc import Iterable
from datetime import timedelta
from math import ceil, floor, log, sqrt

from hotswap.judge.basis import SAMPLE_EVERY, Basis, Epoch, Exposure
from hotswap.judge.guard import FALSE_PASSES, evidence_within
from hotswap.judge.thresholds import judge
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.judge.wording import percent
from hotswap.model import FULL_WEIGHT

RULE = "harmBudget"
SETTLES = timedelta(seconds=1)
"""From when the routers are asked until they all have other weights."""
LEVEL = timedelta(seconds=30)
"""For which the upper bound of the failure rate must be bearable before a weight is raised."""
SHARE = 0.5
"""Of what is left, that may be lost meanwhile."""
ROOM = 0.8
"""Of what is left, that a raised weight may put at risk: so that not every fluctuation takes it back."""
FIRST = 10
"""The highest weight to begin with."""
HIGHEST = 50
"""Before all of the traffic."""
GROWTH = 3
"""A weight becomes at most so many times as great at once ..."""
WORTH = 1.25
"""... and at least so many, or is left as it is."""
RISK = 0.01
"""Where all of the traffic, failing, is more than can be borne: how often the version may fail, and so in what share of
its time it may be failing whole, to be given it all the same."""
DEVIATIONS = 4
"""Of a Poisson count, by which more may come than is expected."""
UNEVEN = 2
"""Invocations by which the routers may differ from their exact split."""
SURE = 2
"""Deviations by which there must be more than usual."""
HALVINGS = 30


def weigh(basis: Basis) -> Verdict | None:
    """PASS with another weight as its value; FAIL where none can be borne, INSUFFICIENT where nothing has failed yet;
    `None` to leave it as it is."""
    exposure = _exposure(basis)
    most = _bearable(basis, exposure, room=1)
    if most < 1:
        return _verdict(_spent(basis), basis, f"not even 1 % of {exposure.rate:.3g}/s can be borne", value=0)
    if exposure.stands:
        why = f"no more than {most} % can be borne, and its weight stands at {exposure.weight} %"
        return _verdict(_spent(basis), basis, why, value=most) if exposure.weight > most else None
    if exposure.weight > most:
        weight = max(1, _bearable(basis, exposure, room=ROOM))
        return _verdict(Outcome.PASS, basis, f"no more than {weight} % can be borne", value=weight)
    raised = _raised(basis, exposure)
    if raised is None:
        return None
    why = f"at most {percent(upper_bound(basis))} fail, {raised} % can be borne"
    return _verdict(Outcome.PASS, basis, why, value=raised)


def complete(basis: Basis) -> Verdict:
    """When the version has had traffic for its time: PASS where all of it may follow."""
    exposure, found = _exposure(basis), judge(basis)
    if found.outcome is not Outcome.PASS:
        return found
    bound, spare = upper_bound(basis), left(basis)
    whole = exposure.rate * _after(exposure).total_seconds()
    rare = bound <= RISK and _most(bound * whole) <= spare
    if _most(whole) <= spare or (rare and _answers(exposure) and _fails_as_ever(exposure, bound)):
        return found
    why = f"up to {percent(bound)} may fail, which is too much for all of the traffic"
    if rare:
        why = f"it has just begun to {'fail' if _answers(exposure) else 'answer late'}"
    return _verdict(Outcome.INSUFFICIENT, basis, why, value=bound)


def rate(answered: int, seconds: float, *, whole: float | None) -> float:
    """Invocations per second: what has come since the last look, if that surely is more than on the whole."""
    if not seconds:
        return whole or 0.0
    if whole is None:
        return (answered + 1) / seconds
    return max(whole, (answered - SURE * sqrt(answered)) / seconds)


def unanswered(levels: Iterable[tuple[int, Epoch]]) -> int:
    """What the version was given under these weights and has not answered: the split is exact, so that it was given its
    share of what the version beside it has answered; but what takes as long for both is in neither."""
    given = sum(epoch.beside * weight / (FULL_WEIGHT - weight) for weight, epoch in levels if weight < FULL_WEIGHT)
    return max(0, round(given) - sum(epoch.invocations for weight, epoch in levels if weight < FULL_WEIGHT))


def left(basis: Basis) -> int:
    """Of the budget, if everything fails that is not answered yet."""
    exposure = _exposure(basis)
    return exposure.budget - basis.tally.errors - exposure.pending


def upper_bound(basis: Basis) -> float:
    """Of the failure rate: what the evidence says that it is under, however often one looks."""
    bad, invocations = basis.tally.errors, basis.tally.invocations
    needed = -log(FALSE_PASSES)
    low, high = bad / invocations if invocations else 1.0, 1.0
    if low >= high or evidence_within(bad, invocations, 1 - 2**-HALVINGS) < needed:
        return 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if evidence_within(bad, invocations, middle) >= needed else (middle, high)
    return high


def _spent(basis: Basis) -> Outcome:
    """Where nothing has failed the version goes back unblamed: the rate is too high for the budget, or what it was
    given may be on its way through a router that is cut off."""
    return Outcome.FAIL if basis.tally.errors else Outcome.INSUFFICIENT


def _raised(basis: Basis, exposure: Exposure) -> int | None:
    """`None` until the present weights have told something, and where there is too little to gain."""
    if exposure.weight and (exposure.stood < SAMPLE_EVERY or not exposure.answered):
        return None
    step = exposure.weight * GROWTH if exposure.weight else FIRST
    weight = min(_bearable(basis, exposure, room=ROOM), step)
    if not _is_worth(weight, exposure):
        return None
    lost = upper_bound(basis) * exposure.rate * LEVEL.total_seconds() / FULL_WEIGHT
    """By each percent of weight."""
    if lost:
        weight = max(1, floor(min(weight, SHARE * left(basis) / lost)))
    return weight if _is_worth(weight, exposure) else None


def _is_worth(weight: int, exposure: Exposure) -> bool:
    return weight > exposure.weight and (weight >= exposure.weight * WORTH or weight == HIGHEST)


def _bearable(basis: Basis, exposure: Exposure, *, room: float) -> int:
    """The highest weight under which everything that may come until it could be taken back may fail."""
    spare = left(basis) * room
    at_hand = exposure.weight * (_before(exposure).total_seconds())
    later = _after(exposure).total_seconds()
    weight = HIGHEST
    while weight and _most(exposure.rate * (at_hand + weight * later) / FULL_WEIGHT) > spare:
        weight -= 1
    return weight


def _answers(exposure: Exposure) -> bool:
    """Whether it has as much under way as is usual: more may be the beginning of a failure that is not counted yet."""
    usual = exposure.rate * exposure.weight / FULL_WEIGHT * exposure.latency.total_seconds()
    return exposure.pending <= usual + UNEVEN


def _fails_as_ever(exposure: Exposure, bound: float) -> bool:
    """Whether no more has failed of late than the bound allows for: a long time without failures makes that low, and a
    failure that has just begun does not raise it at once."""
    expected = bound * exposure.lately
    return exposure.lately_failed <= expected + SURE * sqrt(expected)


def _before(exposure: Exposure) -> timedelta:
    """For which the present weight goes on to give what is not counted: to now, and until other weights hold."""
    return exposure.age + exposure.latency + SETTLES


def _after(exposure: Exposure) -> timedelta:
    """For which the next weight does, before the one after it holds."""
    return SAMPLE_EVERY + exposure.latency + SETTLES


def _most(expected: float) -> int:
    return ceil(expected + DEVIATIONS * sqrt(expected))


def _exposure(basis: Basis) -> Exposure:
    assert isinstance(basis.exposure, Exposure), "a version without a harm budget has no weight to be decided"
    return basis.exposure


def _verdict(outcome: Outcome, basis: Basis, why: str, *, value: float) -> Verdict:
    exposure, errors = _exposure(basis), basis.tally.errors
    under_way = f" and {exposure.pending} not answered" if exposure.pending else ""
    told = f"{errors} of {basis.tally.invocations} failed{under_way}, a harm budget of {exposure.budget}: {why}"
    return Verdict(
        outcome=outcome,
        version=basis.version,
        step=basis.step,
        at=basis.at,
        rule=RULE,
        text=told,
        limit=exposure.budget,
        value=value,
        invocations=basis.tally.invocations,
        errors=errors,
    )
