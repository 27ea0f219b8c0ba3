"""The guide's limits, judged at the end of a phase from what the routers counted in it. Pure.

A sample of fewer than `minInvocations` says nothing. The p99 is judged exactly where the routers counted "slower than
this very limit": it is over the limit if more than one invocation in a hundred was slower. Otherwise it is read from
the buckets, whose upper bounds are off by 4.4 % at most.
"""

from dataclasses import dataclass
from datetime import timedelta
from math import isfinite

from hotswap.judge.basis import Basis
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.judge.wording import percent, plural, share
from hotswap.metrics import Count, Tally
from hotswap.requests import Limits

TAIL = 0.01
"""Share of invocations that may be slower than the p99."""


@dataclass(frozen=True, slots=True)
class Breach:
    rule: str
    text: str
    limit: float
    value: float | None


def judge(basis: Basis) -> Verdict:
    tally, limits = basis.tally, basis.limits
    if tally.invocations < limits.min_invocations:
        text = f"{plural(tally.invocations)} in this phase, {limits.min_invocations} are needed to judge"
        few = Breach("minInvocations", text, limits.min_invocations, tally.invocations)
        return _verdict(Outcome.INSUFFICIENT, basis, few)
    breach = _error_rate(tally, limits) or _latency(basis) or _success_rate(tally, limits)
    return _verdict(Outcome.FAIL if breach else Outcome.PASS, basis, breach)


def _verdict(outcome: Outcome, basis: Basis, breach: Breach | None) -> Verdict:
    tally = basis.tally
    return Verdict(
        outcome=outcome,
        version=basis.version,
        step=basis.step,
        at=basis.at,
        rule=breach.rule if breach else "",
        text=breach.text if breach else _passed(tally),
        limit=breach.limit if breach else None,
        value=breach.value if breach else None,
        invocations=tally.invocations,
        errors=tally.errors,
        warnings=_warnings(tally, basis.limits),
    )


def _error_rate(tally: Tally, limits: Limits) -> Breach | None:
    limit, rate = limits.rollback_on_error_rate, tally.errors / tally.invocations
    if limit is None or rate <= limit:
        return None
    text = f"error rate {share(tally.errors, tally)} is over the limit of {percent(limit)}"
    return Breach("rollbackOnErrorRate", text, limit, rate)


def _success_rate(tally: Tally, limits: Limits) -> Breach | None:
    good = tally.invocations - tally.errors
    limit, rate = limits.rollback_on_success_rate, good / tally.invocations
    if limit is None or rate >= limit:
        return None
    text = f"success rate {share(good, tally)} is under the limit of {percent(limit)}"
    return Breach("rollbackOnSuccessRate", text, limit, rate)


def _latency(basis: Basis) -> Breach | None:
    tally, limit = basis.tally, basis.limits.rollback_on_latency_p99
    if limit is None:
        return None
    measured = p99(tally)
    if basis.counted_limit == timedelta(milliseconds=limit):
        slow = tally[Count.SLOW]
        if slow <= TAIL * tally.invocations:
            return None
        text = f"p99 latency is over the limit of {limit:g} ms: {share(slow, tally)} took longer, {percent(TAIL)} may"
        return Breach("rollbackOnLatencyP99", text, limit, None if measured is None else max(measured, limit))
    if tally.quantile(1 - TAIL) is None or (measured is not None and measured <= limit):
        return None
    text = f"p99 latency {_shown(measured)} of {plural(tally.invocations)} is over the limit of {limit:g} ms"
    return Breach("rollbackOnLatencyP99", text, limit, measured)


def _warnings(tally: Tally, limits: Limits) -> list[str]:
    limit, cold = limits.warn_on_cold_start_rate, tally[Count.COLD]
    if limit is None or not tally.invocations or cold / tally.invocations <= limit:
        return []
    return [f"cold start rate {share(cold, tally)} is over {percent(limit)}"]


def _passed(tally: Tally) -> str:
    return f"error rate {share(tally.errors, tally)}, p99 latency {_shown(p99(tally))}: within the limits"


def p99(tally: Tally) -> float | None:
    """Milliseconds; `None` too for what is past the last bucket: JSON has no infinity."""
    seconds = tally.quantile(1 - TAIL)
    return seconds * 1000 if seconds is not None and isfinite(seconds) else None


def _shown(milliseconds: float | None) -> str:
    return f"{milliseconds:.4g} ms" if milliseconds is not None else "over 60 s"
