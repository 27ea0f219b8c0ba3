"""What a deployment will do before it has begun: when which share of the traffic meets the new version, and how soon
one that fails would be caught. Pure: it follows from the plan's steps, the rate of requests and the judge's formulas.

What a step needs to take effect (a start, a change of weights) is not counted: that is seconds, and nobody knows it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from hotswap.deployment import AnyStep, AwaitPromotion, Bake, Keep, Ramp, Shift, Test
from hotswap.errors import Invalid
from hotswap.judge.basis import SAMPLE_EVERY, Basis, Exposure
from hotswap.judge.budget import weigh
from hotswap.judge.power import Stretch, breaks_limit, found_by, tolerated
from hotswap.judge.verdict import Outcome
from hotswap.judge.wording import percent
from hotswap.metrics import Count, Tally
from hotswap.model import FULL_WEIGHT, Model, Weights
from hotswap.requests import Limits

RATES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""How often a version may fail of which it is told when it is caught."""
ABOUT = 0.5
"""The chance with which it is caught by the time that is told: half of the rollouts catch it sooner."""
NOTICED = timedelta(seconds=0.1)
"""Until routers have told that a version fails, and its counts were asked for; see `scripts/bench detection`."""
SURELY = 0.9
"""Caught with less chance than this it is not relied upon."""
SHARES = (1, 5, 10, 25, 50)
"""Percent that are proposed ..."""
DURATIONS = tuple(timedelta(minutes=it) for it in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440))
"""... for one of these."""
PATIENCE = timedelta(hours=1)
"""A longer phase is proposed only where half of the traffic would not do in this."""
EPOCH = datetime.fromtimestamp(0, UTC)
"""For what needs a time that says nothing."""
HALVINGS = 40
"""Halvings of a time, until it is exact enough."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is invoked, as it was told, measured or assumed."""

    rate: float
    """Invocations per second of the alias."""
    stable: float
    """How often the version fails that has the traffic now, 0 to 1."""
    users: int | None = None
    """How many different ones there are."""


class Phase(Model, frozen=True, kw_only=True):
    """A time in which one set of weights holds."""

    begins: timedelta
    lasts: timedelta
    weight: int
    """Of the new version."""
    beside: int
    """Of the version that had the traffic before."""
    ends: str
    """By what."""
    limits: Limits | None = None
    """That are guarded meanwhile."""
    judged: bool = False
    """By these limits at its end."""
    sticky: bool = False
    """A user stays with one version."""
    invocations: int | None = None
    """That the new version answers."""
    users: int | None = None
    """Who have met the new version by its end; `None` where it is not known how many there are."""


class Finding(Model, frozen=True, kw_only=True):
    """What becomes of a version that fails at a rate."""

    rate: float
    tolerated: bool
    """The limits allow it."""
    chance: float
    """That it is caught before the deployment is over."""
    after: timedelta | None = None
    """When half of the rollouts have caught it; `None` where fewer do."""
    bad: int | None = None
    """Invocations that have failed by then."""
    by: str = ""
    """`guard` or `limits`."""
    proposed: "Proposal | None" = None
    """What would catch it surely."""


class Proposal(Model, frozen=True, kw_only=True):
    weight: int
    lasts: timedelta


def phases(
    steps: Iterable[AnyStep],
    *,
    version: int,
    stable: int | None,
    weights: Weights,
    sticky: bool,
    traffic: Traffic,
) -> list[Phase]:
    """Of a plan that begins on these weights; `sticky` tells whether users stay with a version at present."""
    found: list[Phase] = []
    now = timedelta()
    for step in steps:
        if isinstance(step, Ramp):
            levels = ramped(step, stable=stable, traffic=traffic, sticky=sticky, begins=now)
            found += levels
            now = levels[-1].begins + levels[-1].lasts
        if isinstance(step, Shift):
            weights = step.weights
            sticky = sticky if step.sticky is None or not step.sticky else True
        if held := _held(step):
            lasts, ends, limits = held
            found.append(
                Phase(
                    begins=now,
                    lasts=lasts,
                    weight=weights.get(version, 0),
                    beside=weights.get(stable, 0) if stable is not None else 0,
                    ends=ends,
                    limits=limits,
                    judged=isinstance(step, Bake),
                    sticky=sticky,
                )
            )
            now += lasts
    return found


def ramped(step: Ramp, *, stable: int | None, traffic: Traffic, sticky: bool, begins: timedelta) -> list[Phase]:
    """As a harm budget weighs a version that is as good as the one before it, if all comes as is expected. Raises
    `Invalid` for a budget that bears nothing of such traffic."""
    levels: list[tuple[timedelta, int]] = []
    answered, now, weight, since = 0.0, timedelta(), 0, timedelta()
    while not levels or now < step.duration:
        basis = _expected(step, answered, weight, now - since, traffic)
        if (found := weigh(basis)) and found.value is not None:
            if found.outcome is not Outcome.PASS:
                raise Invalid(f"the budget is too small: {found.text}", hint="name a greater config.harmBudget")
            weight, since = int(found.value), now
            levels.append((now, weight))
        now += SAMPLE_EVERY
        answered += traffic.rate * SAMPLE_EVERY.total_seconds() * weight / FULL_WEIGHT
    ends = [*(begun for begun, _ in levels[1:]), max(now, step.duration)]
    return [
        Phase(
            begins=begins + begun,
            lasts=ended - begun,
            weight=level,
            beside=FULL_WEIGHT - level,
            ends="weighed" if ended < ends[-1] else "judged",
            limits=step.limits,
            sticky=sticky,
        )
        for (begun, level), ended in zip(levels, ends, strict=True)
    ]


def _expected(step: Ramp, answered: float, weight: int, stood: timedelta, traffic: Traffic) -> Basis:
    """What is counted by then."""
    counts = Tally.zero().counts
    counts[Count.STATUS] = round(answered * traffic.stable)
    counts[Count.OK] = round(answered) - counts[Count.STATUS]
    exposure = Exposure(
        budget=step.budget,
        weight=weight,
        rate=traffic.rate,
        stood=stood,
        age=timedelta(),
        answered=round(answered),
        pending=0,
        latency=timedelta(),
    )
    return Basis(
        version=step.version, step=0, at=EPOCH, tally=Tally(counts=counts), limits=step.limits, exposure=exposure
    )


def _held(step: AnyStep) -> tuple[timedelta, str, Limits | None] | None:
    match step:
        case Test():
            return step.soak + step.duration, "tested, at the latest", None
        case Bake():
            return step.duration, "judged", step.limits
        case Keep():
            return step.duration, f"version {step.version} is kept warm until then", step.limits
        case AwaitPromotion():
            return step.limit, "a person names the winner, by then at the latest", step.limits
        case _:
            return None


def met(phases: Sequence[Phase], traffic: Traffic) -> list[Phase]:
    """The phases with the invocations and the users that meet the new version in them."""
    found: list[Phase] = []
    spared = 1.0
    """The share of users who have not met it."""
    for phase in phases:
        share = phase.weight / FULL_WEIGHT
        requests = traffic.rate * phase.lasts.total_seconds()
        if phase.sticky:
            spared = min(spared, 1 - share)
        elif traffic.users:
            spared *= (1 - share) ** (requests / traffic.users)
        users = None if traffic.users is None else round(traffic.users * (1 - spared))
        found.append(replace(phase, invocations=round(share * requests), users=users))
    return found


def findings(phases: Sequence[Phase], traffic: Traffic) -> list[Finding]:
    """Empty where nothing is guarded."""
    watch = _Watch(phases, traffic)
    return [_finding(rate, watch) for rate in RATES] if watch.phases else []


def false_alarm(phases: Sequence[Phase], traffic: Traffic) -> float:
    """The chance that the limits, at the end of some phase, are broken by a version as good as the one before it."""
    watch, passed = _Watch(phases, traffic), 1.0
    for phase in watch.phases:
        if phase.judged and traffic.stable:
            passed *= 1 - breaks_limit(traffic.stable, watch.stretch(phase, phase.lasts), watch.limits)
    return 1 - passed


class _Watch:
    """The phases in which the new version is judged, and what it answers in them."""

    def __init__(self, phases: Sequence[Phase], traffic: Traffic) -> None:
        self.traffic = traffic
        self.phases = [phase for phase in phases if phase.limits and phase.weight]
        self.limits = next((phase.limits for phase in self.phases if phase.limits), Limits())
        """Every phase of a plan has the same."""

    @property
    def begins(self) -> timedelta:
        return self.phases[0].begins

    @property
    def ends(self) -> timedelta:
        return self.phases[-1].begins + self.phases[-1].lasts

    def stretches(self, now: timedelta) -> list[Stretch]:
        return [
            self.stretch(phase, min(phase.lasts, now - phase.begins)) for phase in self.phases if phase.begins < now
        ]

    def stretch(self, phase: Phase, lasts: timedelta) -> Stretch:
        each = self.traffic.rate * lasts.total_seconds() / FULL_WEIGHT
        return Stretch(invocations=each * phase.weight, beside=each * phase.beside)

    def caught(self, rate: float, now: timedelta) -> tuple[float, str]:
        """With which chance by then, at least, and by what."""
        guard = found_by(rate, self.stretches(now), self.limits, stable=self.traffic.stable)
        over = [phase for phase in self.phases if phase.judged and phase.begins + phase.lasts <= now]
        raw = [breaks_limit(rate, self.stretch(phase, phase.lasts), self.limits) for phase in over]
        return max([(guard, "guard"), *((chance, "limits") for chance in raw)], key=lambda found: found[0])

    def half_caught(self, rate: float) -> timedelta:
        """When half of the rollouts have caught it, of which so many do."""
        early, late = self.begins, self.ends
        for _ in range(HALVINGS):
            middle = (early + late) / 2
            early, late = (early, middle) if self.caught(rate, middle)[0] >= ABOUT else (middle, late)
        return late


def _finding(rate: float, watch: _Watch) -> Finding:
    chance, _ = watch.caught(rate, watch.ends)
    allowed = rate <= tolerated(watch.limits, stable=watch.traffic.stable)
    proposed = None if allowed or chance >= SURELY else _proposal(rate, watch)
    if chance < ABOUT:
        return Finding(rate=rate, tolerated=allowed, chance=chance, proposed=proposed)
    at = watch.half_caught(rate)
    by = watch.caught(rate, at)[1]
    if by == "guard":
        at += NOTICED
    return Finding(
        rate=rate,
        tolerated=allowed,
        chance=chance,
        after=at - watch.begins,
        bad=round(rate * sum(stretch.invocations for stretch in watch.stretches(at))),
        by=by,
        proposed=proposed,
    )


def _proposal(rate: float, watch: _Watch) -> Proposal | None:
    """The phase that costs the fewest failures: the smallest share, for a time that one has patience for."""
    quick = [(weight, lasts) for weight in SHARES for lasts in DURATIONS if lasts <= PATIENCE]
    slow = [(SHARES[-1], lasts) for lasts in DURATIONS if lasts > PATIENCE]
    for weight, lasts in [*quick, *slow]:
        each = watch.traffic.rate * lasts.total_seconds() / FULL_WEIGHT
        stretch = Stretch(invocations=each * weight, beside=each * (FULL_WEIGHT - weight))
        if found_by(rate, [stretch], watch.limits, stable=watch.traffic.stable) >= SURELY:
            return Proposal(weight=weight, lasts=lasts)
    return None


def sentence(found: Finding) -> str:
    """What becomes of such a version, for people."""
    who = "a version that always fails" if found.rate == 1 else f"a version that fails {percent(found.rate)}"
    better = _better(found.proposed)
    if found.after is None and found.tolerated:
        return f"{who} is within the limits: nothing goes back for it"
    if found.after is None:
        return f"a failure of {percent(found.rate)} cannot be proven at this rate: {better}"
    how = "caught" if found.by == "guard" else "caught by the limits, at the end of a phase,"
    caught = f"{who} is {how} in about {about(found.after)} after some {found.bad} bad answers"
    if found.chance >= SURELY:
        return caught
    return f"{caught}, but only in {percent(found.chance)} of all cases: {better}"


def _better(proposed: Proposal | None) -> str:
    if proposed is None:
        return "nor would half of the traffic for a day"
    return f"{proposed.weight} % for {isoformat(proposed.lasts)} would"


def about(span: timedelta) -> str:
    """Rounded as a person would: `2 s`, `12 min`, `3 h`."""
    seconds = span.total_seconds()
    for unit, size, from_ in (("d", 86400, 129600), ("h", 3600, 5400), ("min", 60, 90)):
        if seconds >= from_:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(1, round(seconds))} s"


def isoformat(span: timedelta) -> str:
    hours, minutes = divmod(round(span.total_seconds() / 60), 60)
    return "PT" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes or not hours else "")
