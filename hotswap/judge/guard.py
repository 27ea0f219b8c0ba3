"""The test that runs all the time while a new version has traffic, and may be looked at after every invocation. Pure.

A limit on a raw rate cannot be looked at often: sooner or later chance breaks it, and a healthy version is rolled back.
So what is watched is the *evidence* that the version is worse than its limit: how many times likelier the counts are
under a rate above the limit than at the limit itself. It is an e-process: the chance that a version within its limit
ever shows evidence of X to 1 is at most 1/X, however often one looks (Ville 1939; Howard, Ramdas et al. 2021). A
deployment's share of false alarms, `FALSE_ALARMS`, is split over the limits that are set.

That holds for one count that only grows: all that the new version has answered since it first had traffic, and not each
phase by itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import asin, exp, inf, log, log1p, pi, sqrt
from typing import Literal

from hotswap.judge.basis import Basis, Epoch
from hotswap.judge.beta import log_betainc, log_betaincc, log_density
from hotswap.judge.thresholds import TAIL, p99
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.judge.wording import percent, share
from hotswap.metrics import Count, Tally

FALSE_ALARMS = 0.01
"""The chance that a deployment of a healthy version is rolled back by the guard."""
FALSE_PASSES = 0.05
"""The chance that a version at its limit is said to be within it."""
LEAST_BAD = 3
"""Fewer bad invocations than this decide nothing, however unlikely they are."""
PRIOR = 0.5
"""Both parameters of the Beta prior over the rate: Jeffreys'."""
RATIOS = (1.5, 2, 3, 5, 10, 30, 100)
"""How many times as bad as is allowed the new version may be, each as likely as the others."""
MOST_SHOWN = log(1e6)
"""Evidence above this is told as "over"."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A limit, as a rate of bad invocations that the version must not exceed."""

    rule: Literal["rollbackOnErrorRate", "rollbackOnSuccessRate", "rollbackOnLatencyP99"]
    bad: int
    tau: float
    limit: float
    """As it was set."""


def watch(basis: Basis) -> Verdict | None:
    """FAIL when the evidence decides, `None` while the guard is quiet.

    The tally is all that the version answered in this deployment. A latency limit that routers do not count exactly is
    not guarded.
    """
    sharing = _limits_set(basis)
    if not (basis.tally.invocations and sharing):
        return None
    needed = log(sharing / FALSE_ALARMS)
    for one in _guarded(basis):
        found = _evidence_over(one, basis.tally.invocations, needed=needed)
        if found >= needed:
            return _fail(one, found, needed, basis, shared=_is_shared(one, basis, needed=needed))
    return _worse_than_stable(basis, needed=needed)


def evidence_over(bad: int, invocations: int, tau: float) -> float:
    """ln of the evidence that the rate of bad invocations is over `tau`."""
    if tau <= 0:
        return inf if bad else 0.0
    if tau >= 1:
        return 0.0
    seen, prior = _posterior(bad, invocations), log(2 / pi * asin(sqrt(1 - tau)))
    return _against(seen, tau) + log_betaincc(*seen, tau) - prior


def evidence_within(bad: int, invocations: int, tau: float) -> float:
    """ln of the evidence that the rate of bad invocations is under `tau`: the mirror of `evidence_over`."""
    if tau <= 0:
        return -inf if bad else 0.0
    if tau >= 1:
        return inf if bad < invocations else 0.0
    seen, prior = _posterior(bad, invocations), log(2 / pi * asin(sqrt(tau)))
    return _against(seen, tau) + log_betainc(*seen, tau) - prior


def evidence_against_stable(epochs: Iterable[Epoch], rho: float) -> float:
    """ln of the evidence that the new version is more than `rho` times as bad as the stable one beside it.

    Bad invocations alone tell it: at equal rates they fall to the new version as its weight says. So a change of
    weights begins no new count, and an outage that both share is no evidence. An epoch in which one version had all the
    traffic says nothing.
    """
    shared = [epoch for epoch in epochs if epoch.shared]
    found = [sum(_likelier(epoch, rho, ratio) for epoch in shared) for ratio in RATIOS]
    most = max(found)
    return most + log(sum(exp(one - most) for one in found) / len(found))


def pass_needs(tau: float) -> int | None:
    """Invocations without a bad one that it takes to say that a version is within `tau`; `None` if none suffice."""
    if tau <= 0:
        return None
    needed, enough = -log(FALSE_PASSES), 1
    while evidence_within(0, enough, tau) < needed:
        enough *= 2
    few = enough // 2
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if evidence_within(0, middle, tau) >= needed else (middle, enough)
    return enough


def _limits_set(basis: Basis) -> int:
    """How many limits share the false alarms: all that are set, guarded or not, so that the share never changes."""
    limits = basis.limits
    ratio = limits.rollback_on_error_ratio if basis.epochs is not None else None
    rates = (limits.rollback_on_error_rate, limits.rollback_on_success_rate, limits.rollback_on_latency_p99, ratio)
    return sum(limit is not None for limit in rates)


def _worse_than_stable(basis: Basis, *, needed: float) -> Verdict | None:
    rho, epochs = basis.limits.rollback_on_error_ratio, [epoch for epoch in basis.epochs or () if epoch.shared]
    mine, beside = _sums(epochs)
    if rho is None or mine.errors < LEAST_BAD or mine.rate <= rho * beside.rate:
        return None
    found = evidence_against_stable(epochs, rho)
    if found < needed:
        return None
    text = (
        f"error rate {mine} is over {rho:g} times that of the stable version beside it, {beside}"
        f": evidence {_odds(found)}, {_odds(needed)} decides"
    )
    return Verdict(
        outcome=Outcome.FAIL,
        version=basis.version,
        step=basis.step,
        at=basis.at,
        rule="guard:rollbackOnErrorRatio",
        text=text,
        limit=rho,
        value=mine.rate / beside.rate if beside.errors else None,
        invocations=mine.invocations,
        errors=mine.errors,
    )


def _is_shared(one: Guarded, basis: Basis, *, needed: float) -> bool:
    """Whether the stable version broke the limit too, while nothing says that this one is the worse of them."""
    if one.rule == "rollbackOnLatencyP99":
        return False
    epochs = [epoch for epoch in basis.epochs or () if epoch.shared]
    _, beside = _sums(epochs)
    if beside.errors < LEAST_BAD or evidence_over(beside.errors, beside.invocations, one.tau) < needed:
        return False
    return evidence_against_stable(epochs, basis.limits.rollback_on_error_ratio or 1) < needed


@dataclass(frozen=True, slots=True)
class Sum:
    invocations: int
    errors: int

    @property
    def rate(self) -> float:
        return self.errors / self.invocations if self.invocations else 0.0

    def __str__(self) -> str:
        return f"{percent(self.rate)} ({self.errors} of {self.invocations})"


def _sums(epochs: Iterable[Epoch]) -> tuple[Sum, Sum]:
    """Of the version, and of the stable one beside it."""
    mine, beside = Sum(0, 0), Sum(0, 0)
    for one in epochs:
        mine = Sum(mine.invocations + one.invocations, mine.errors + one.errors)
        beside = Sum(beside.invocations + one.beside, beside.errors + one.beside_errors)
    return mine, beside


def _guarded(basis: Basis) -> Iterator[Guarded]:
    tally, limits = basis.tally, basis.limits
    if (limit := limits.rollback_on_error_rate) is not None:
        yield Guarded("rollbackOnErrorRate", tally.errors, limit, limit)
    if (limit := limits.rollback_on_latency_p99) is not None and basis.counted_limit == timedelta(milliseconds=limit):
        slow = min(tally[Count.SLOW], tally.invocations)  # counts are read while they are written
        yield Guarded("rollbackOnLatencyP99", slow, TAIL, limit)
    if (limit := limits.rollback_on_success_rate) is not None:
        yield Guarded("rollbackOnSuccessRate", tally.errors, 1 - limit, limit)


def _evidence_over(one: Guarded, invocations: int, *, needed: float) -> float:
    """-inf where a glance shows that it cannot decide: a mean of likelihood ratios is not over the greatest of them."""
    if one.bad < LEAST_BAD or one.bad <= one.tau * invocations:
        return -inf
    if 0 < one.tau < 1 and _greatest_ratio(one.bad, invocations, one.tau) < needed:
        return -inf
    return evidence_over(one.bad, invocations, one.tau)


def _greatest_ratio(bad: int, invocations: int, tau: float) -> float:
    """ln of how much likelier the counts are at the rate that was seen than at `tau`."""
    rate, good = bad / invocations, invocations - bad
    return bad * log(rate / tau) + (good * (log1p(-rate) - log1p(-tau)) if good else 0.0)


def _posterior(bad: int, invocations: int) -> tuple[float, float]:
    return bad + PRIOR, invocations - bad + PRIOR


def _against(seen: tuple[float, float], tau: float) -> float:
    """ln B(k+a, n-k+b) / [B(a, b) τ^k (1-τ)^(n-k)], where B(1/2, 1/2) = π."""
    return PRIOR * (log(tau) + log1p(-tau)) - log(pi) - log_density(*seen, tau)


def _likelier(epoch: Epoch, rho: float, ratio: float) -> float:
    """ln of how much likelier an epoch is at `ratio` times the allowed `rho` than at `rho`."""
    canary, stable = epoch.share, 1 - epoch.share
    allowed, worse = canary * rho, canary * rho * ratio
    less = log((allowed + stable) / (worse + stable))
    return epoch.errors * (log(ratio) + less) + epoch.beside_errors * less


def _fail(one: Guarded, found: float, needed: float, basis: Basis, *, shared: bool) -> Verdict:
    text, value = _told(one, basis.tally)
    incident = "; the stable version beside it fails likewise: this is a shared incident" if shared else ""
    return Verdict(
        outcome=Outcome.FAIL,
        version=basis.version,
        step=basis.step,
        at=basis.at,
        rule=f"guard:{one.rule}",
        text=f"{text}: evidence {_odds(found)}, {_odds(needed)} decides{incident}",
        limit=one.limit,
        value=value,
        invocations=basis.tally.invocations,
        errors=basis.tally.errors,
        shared=shared,
    )


def _told(one: Guarded, tally: Tally) -> tuple[str, float | None]:
    """The breach for people, and what was measured, in the unit of the limit."""
    seen, invocations = share(one.bad, tally), tally.invocations
    match one.rule:
        case "rollbackOnErrorRate":
            return f"error rate {seen} is over the limit of {percent(one.limit)}", one.bad / invocations
        case "rollbackOnSuccessRate":
            good = invocations - one.bad
            return f"success rate {share(good, tally)} is under the limit of {percent(one.limit)}", good / invocations
        case "rollbackOnLatencyP99":
            text = f"{seen} took longer than the p99 limit of {one.limit:g} ms, {percent(TAIL)} may"
            return text, p99(tally)


def _odds(evidence: float) -> str:
    return f"{exp(evidence):.0f} to 1" if evidence <= MOST_SHOWN else "over a million to 1"
