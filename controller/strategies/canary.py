"""Canary: the new version takes traffic in increments, and is judged at the end of each phase.

    0:00  production -> v5 (90 %) + v6 (10 %)
    0:10  judged -> v5 (50 %) + v6 (50 %)
    0:20  judged -> v6 (100 %)
    0:30  judged -> complete, v5 is retired

The increments are `canaryIncrements`; else `canaryPercentage`, then 50 where that is more, then 100; else those of the
`preset`; else the standard ones. Increments that do not end at 100 go on to it, since a deployment has to end
somewhere. The first deployment of an alias has nothing to compare with and nothing to go back to: it has no phases.
With `harmBudget` the weight is not planned: it follows from what fails and from what is left of the budget, see
`hotswap.judge.budget`. With `skipAnalysis` there are no phases either, for the hotfix at night; the way back is there
all the same.
"""

from datetime import timedelta
from itertools import pairwise

from controller.strategies import presets
from controller.strategies.plan import Plan, State, give_all, latency_limit, limits, plan, start
from controller.strategies.presets import Phase
from hotswap.deployment import AnyStep, Bake, Ramp, Shift
from hotswap.errors import Invalid
from hotswap.model import FULL_WEIGHT
from hotswap.requests import Canary, CanaryConfig

HALF = 50


def steps(request: Canary, state: State) -> Plan:
    stable = state.stable
    budgeted = None if request.config.harm_budget is None else ramp(request, request.config.harm_budget)
    if stable is None or request.config.skip_analysis:
        return plan(state, start(state.version), give_all(request.version))
    if budgeted is not None:
        return plan(state, start(state.version), budgeted, give_all(request.version))
    phased = [step for phase in phases(request.config) for step in _steps(phase, request, stable)]
    return plan(state, start(state.version), *phased)


def ramp(request: Canary, budget: int) -> Ramp:
    config = request.config
    fixed = {
        "canaryIncrements": config.canary_increments,
        "canaryPercentage": config.canary_percentage,
        "preset": config.preset,
        "skipAnalysis": config.skip_analysis or None,
    }
    if named := [name for name, value in fixed.items() if value is not None]:
        raise Invalid(
            f"config names both a harm budget and {' and '.join(named)}",
            hint=f"leave out harmBudget, or {' and '.join(named)}: with a budget the weight follows from what fails",
        )
    return Ramp(version=request.version, budget=budget, duration=_duration(config), limits=limits(config))


def _duration(config: CanaryConfig) -> timedelta:
    if config.canary_duration is None:
        return presets.STANDARD_DURATION
    if config.canary_duration < timedelta(0):
        raise Invalid("config.canaryDuration is negative", hint="for example PT10M")
    return config.canary_duration


def phases(config: CanaryConfig) -> tuple[Phase, ...]:
    preset = presets.named(config.preset) if config.preset is not None else presets.STANDARD
    duration = _duration(config)
    increments = _increments(config)
    if increments is None:
        return preset if config.canary_duration is None else _lasting(config.canary_duration, preset)
    if config.preset is not None:
        raise Invalid(
            "config names both a preset and increments of its own",
            hint="leave out preset, or canaryPercentage and canaryIncrements",
        )
    return tuple(Phase(percent, duration) for percent in increments)


def _increments(config: CanaryConfig) -> list[int] | None:
    if config.canary_increments is None:
        first = config.canary_percentage
        return None if first is None else sorted({first, max(first, HALF), FULL_WEIGHT})
    if any(later <= earlier for earlier, later in pairwise(config.canary_increments)):
        raise Invalid(
            f"config.canaryIncrements do not grow: {config.canary_increments}", hint="for example [10, 50, 100]"
        )
    ends = config.canary_increments[-1] == FULL_WEIGHT
    return config.canary_increments if ends else [*config.canary_increments, FULL_WEIGHT]


def _lasting(duration: timedelta, preset: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """The preset's phases with another duration; one that is not held stays so."""
    return tuple(Phase(phase.percent, duration if phase.duration else phase.duration) for phase in preset)


def _steps(phase: Phase, request: Canary, stable: int) -> list[AnyStep]:
    rest = FULL_WEIGHT - phase.percent
    weights = {stable: rest, request.version: phase.percent} if rest else {request.version: FULL_WEIGHT}
    shift = Shift(weights=weights, latency_limit=latency_limit(request.config))
    if not phase.duration:
        return [shift]
    return [shift, Bake(versions=[request.version], duration=phase.duration, limits=limits(request.config))]
