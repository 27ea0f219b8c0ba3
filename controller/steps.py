"""What is known of steps without carrying them out: their limits, their names, what they keep and what they expect.

All of it is pure, and all of it is read from the deployment alone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from hotswap.deployment import (
    AnyStep,
    AwaitPromotion,
    Bake,
    Deployment,
    HoldingStep,
    Keep,
    Progress,
    Ramp,
    Retire,
    Shift,
    Start,
    Status,
    Test,
)
from hotswap.model import FULL_WEIGHT, Weights
from hotswap.requests import Limits

SHIFT_LIMIT = timedelta(minutes=1)
"""Until every router that lives must have new weights."""
RETIRE_LIMIT = timedelta(minutes=1)
"""How long a deployment waits for old endpoints to go; agents that are away withdraw them when they are back."""
KEEP_GRACE = timedelta(minutes=1)
"""Within which a time that is over has to be noticed."""
LEAST_TEST = timedelta(minutes=1)
"""What tests get where the request gives them less."""
LEAST_EXTENSION = timedelta(minutes=1)
"""A phase that has told too little goes on for its own duration once more, but at least this long."""


def limit(step: AnyStep) -> timedelta:
    """How long a step may take from when it is entered."""
    match step:
        case Start():
            return step.limit
        case Shift():
            return SHIFT_LIMIT
        case Bake() | Ramp():
            return step.duration + max(step.duration, LEAST_EXTENSION)
        case Test():
            return step.soak + max(step.duration, LEAST_TEST)
        case AwaitPromotion():
            return step.limit
        case Keep():
            return step.duration + KEEP_GRACE
        case Retire():
            return RETIRE_LIMIT
        case _:
            assert_never(step)


def enter(steps: list[AnyStep], index: int, now: datetime, *, attempt: int, weights_revision: int = 0) -> Progress:
    """Where a step begins. What holds has no effect of its own: it counts from the revision of the weights it holds."""
    step = steps[index]
    holds = isinstance(step, HoldingStep)
    return Progress(
        index=index,
        attempt=attempt,
        entered=now,
        deadline=now + limit(step),
        effect=weights_revision if holds else 0,
        observed=now if holds else None,
    )


def later(progress: Progress, by: timedelta) -> Progress:
    """The same progress, after a time that does not count."""
    observed = progress.observed + by if progress.observed else None
    return replace(progress, entered=progress.entered + by, deadline=progress.deadline + by, observed=observed)


def key(deployment: Deployment) -> str:
    """Names one attempt at one step, so that an effect that shows can be told from one that is still to be made."""
    way = "back" if goes_back(deployment.status) else "plan"
    return f"{deployment.id}/{way}/{deployment.progress.index}/{deployment.progress.attempt}"


def present(deployment: Deployment) -> AnyStep:
    return deployment.steps[deployment.progress.index]


def last_of(kind: type[AnyStep], steps: list[AnyStep]) -> int | None:
    """Index of the last step of that kind."""
    indices = [index for index, step in enumerate(steps) if isinstance(step, kind)]
    return indices[-1] if indices else None


def last_shift(deployment: Deployment, *, before: int) -> int | None:
    """Index of the last shift before that index in the steps that count now."""
    return last_of(Shift, deployment.steps[:before])


def versions(step: AnyStep) -> set[int]:
    """Those that must run when the step is taken."""
    match step:
        case Start() | Test() | Ramp():
            return {step.version}
        case Bake() | AwaitPromotion():
            return set(step.versions)
        case Keep():
            return {step.version, *step.versions}
        case Shift():
            return {version for version, weight in step.weights.items() if weight}
        case Retire():
            return set()
        case _:
            assert_never(step)


def hastened(plan: list[AnyStep], index: int) -> list[AnyStep]:
    """The plan without what is only waited for after that index; of several shifts in a row the last one counts."""
    rest = [step for step in plan[index + 1 :] if not isinstance(step, Bake | Ramp | Test | AwaitPromotion)]
    needed = [
        step
        for number, step in enumerate(rest)
        if not (isinstance(step, Shift) and number + 1 < len(rest) and isinstance(rest[number + 1], Shift))
    ]
    return [*plan[: index + 1], *needed]


def crowning(rest: list[AnyStep], winner: int) -> list[AnyStep]:
    """How a test that is among the steps ends: the winner takes everything, users are tied to versions as before the
    test, and the others go."""
    test = next(step for step in rest if isinstance(step, AwaitPromotion))
    losers = [version for version in test.versions if version != winner]
    return [
        Shift(weights={winner: FULL_WEIGHT}, sticky=test.before),
        *(Retire(version=version) for version in losers),
    ]


@dataclass(frozen=True, slots=True)
class Watched:
    """The versions that are judged while they have traffic, and the limits for them."""

    versions: tuple[int, ...]
    limits: Limits


def watched(deployment: Deployment) -> Watched | None:
    """What is judged now: in each phase, and as long as its traffic stands still for whatever reason."""
    if deployment.status not in {Status.RUNNING, Status.PAUSED, Status.HELD, Status.AWAITING_PROMOTION}:
        return None
    step = present(deployment)
    if isinstance(step, HoldingStep):
        return _of_hold(step)
    if deployment.status is Status.RUNNING or last_shift(deployment, before=deployment.progress.index) is None:
        return None
    before = [it for it in deployment.plan[: deployment.progress.index] if isinstance(it, Bake | Ramp)]
    after = [it for it in deployment.plan[deployment.progress.index :] if isinstance(it, Bake | Ramp)]
    nearest = [*before[-1:], *after[:1]]
    return _of_hold(nearest[0]) if nearest else None


def _of_hold(step: HoldingStep) -> Watched:
    match step:
        case Bake() | Keep():
            return Watched(tuple(step.versions), step.limits)
        case Ramp():
            return Watched((step.version,) if step.began else (), step.limits)
        case AwaitPromotion():
            return Watched(tuple(step.judged), step.limits)
        case _:
            assert_never(step)


def describe(step: AnyStep) -> str:
    match step:
        case Start():
            return f"start version {step.version}{_on(step.nodes)}"
        case Shift():
            return f"give {shares(step.weights)}{_without(step)}"
        case Bake():
            return f"hold for {duration(step.duration)}, then judge {named(step.versions)}"
        case Ramp():
            what = f"version {step.version} by a harm budget of {step.budget}"
            return f"hold and weigh {what}, for {duration(step.duration)} in all, then judge it"
        case Test():
            after = f"after {duration(step.soak)} " if step.soak else ""
            return f"{after}test version {step.version}"
        case AwaitPromotion():
            return f"await the promotion of version {' or '.join(map(str, step.versions))}"
        case Keep():
            return f"keep version {step.version} warm for {duration(step.duration)}"
        case Retire():
            return f"retire version {step.version}{_on(step.nodes)}"
        case _:
            assert_never(step)


def _without(step: Shift) -> str:
    return "".join(f", version {version} not on {' and '.join(nodes)}" for version, nodes in step.without.items())


def named(numbers: list[int]) -> str:
    """`version 6`, `versions 6 and 7`."""
    return f"version{'' if len(numbers) == 1 else 's'} {' and '.join(map(str, numbers))}"


def _on(nodes: list[str] | None) -> str:
    return f" on {', '.join(nodes)}" if nodes is not None else ""


def shares(weights: Weights) -> str:
    """`v5 90 %, v6 10 %`."""
    return ", ".join(f"v{version} {weight} %" for version, weight in sorted(weights.items())) or "nothing"


def duration(span: timedelta) -> str:
    """`10 min`, `90 s`, `1 h`."""
    seconds = span.total_seconds()
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def goes_back(status: Status) -> bool:
    return status in {Status.ROLLING_BACK, Status.FROZEN}
