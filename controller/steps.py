"""What is known of steps without carrying them out: their limits, their names, what they keep and what they expect.

All of it is pure, and all of it is read from the deployment alone.
"""

from datetime import datetime, timedelta
from typing import assert_never

from hotswap.deployment import AnyStep, Bake, Deployment, Progress, Retire, Shift, Start, Status
from hotswap.model import Weights

SHIFT_LIMIT = timedelta(minutes=1)
"""Until every router that lives must have new weights."""
RETIRE_LIMIT = timedelta(minutes=1)
"""How long a deployment waits for old endpoints to go; agents that are away withdraw them when they are back."""
LEAST_EXTENSION = timedelta(minutes=1)
"""A phase that has told too little goes on for its own duration once more, but at least this long."""


def limit(step: AnyStep) -> timedelta:
    """How long a step may take from when it is entered."""
    match step:
        case Start():
            return step.limit
        case Shift():
            return SHIFT_LIMIT
        case Bake():
            return step.duration + max(step.duration, LEAST_EXTENSION)
        case Retire():
            return RETIRE_LIMIT
        case _:
            assert_never(step)


def enter(steps: list[AnyStep], index: int, now: datetime, *, attempt: int, weights_revision: int = 0) -> Progress:
    """Where a step begins. A bake has no effect of its own: it counts from the revision of the weights it holds."""
    step = steps[index]
    bakes = isinstance(step, Bake)
    return Progress(
        index=index,
        attempt=attempt,
        entered=now,
        deadline=now + limit(step),
        effect=weights_revision if bakes else 0,
        observed=now if bakes else None,
    )


def key(deployment: Deployment) -> str:
    """Names one attempt at one step, so that an effect that shows can be told from one that is still to be made."""
    way = "back" if goes_back(deployment.status) else "plan"
    return f"{deployment.id}/{way}/{deployment.progress.index}/{deployment.progress.attempt}"


def present(deployment: Deployment) -> AnyStep:
    return deployment.steps[deployment.progress.index]


def last_shift(deployment: Deployment, *, before: int) -> int | None:
    """Index of the last shift before that index in the steps that count now."""
    indices = [i for i, step in enumerate(deployment.steps[:before]) if isinstance(step, Shift)]
    return indices[-1] if indices else None


def kept(deployment: Deployment) -> frozenset[int]:
    """Versions that must run for the deployment's sake: all that it names, less those that it has let go."""
    if deployment.status.terminal:
        return frozenset()
    named = {version for step in (*deployment.plan, *deployment.way_back) for version in _versions(step)}
    done = deployment.steps[: deployment.progress.index + 1]
    return frozenset(named - {step.version for step in done if isinstance(step, Retire)})


def _versions(step: AnyStep) -> set[int]:
    match step:
        case Start() | Bake():
            return {step.version}
        case Shift():
            return {version for version, weight in step.weights.items() if weight}
        case Retire():
            return set()
        case _:
            assert_never(step)


def describe(step: AnyStep) -> str:
    match step:
        case Start():
            return f"start version {step.version}"
        case Shift():
            return f"give {shares(step.weights)}"
        case Bake():
            return f"hold for {duration(step.duration)}, then judge version {step.version}"
        case Retire():
            return f"retire version {step.version}"
        case _:
            assert_never(step)


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
