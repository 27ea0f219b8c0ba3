"""What the alias tells about a deployment: whether its weights were set, and whether somebody else changed them. Pure.

An alias names the attempt that set its weights (`Alias.step`). So an effect is told from an intent, and a foreign hand
from our own, by the alias alone.
"""

from controller import steps
from controller.decision import Observation
from hotswap.deployment import Deployment, Retire, Shift, Start, Test
from hotswap.model import Alias, Weights


def written(deployment: Deployment, alias: Alias | None) -> bool:
    """Whether the effect of the present step was made. Weights tell it themselves: the alias names who set them.
    Tests change nothing, so there is nothing to make."""
    step = steps.present(deployment)
    if isinstance(step, Test):
        return True
    if isinstance(step, Shift):
        return alias is not None and alias.step == steps.key(deployment) and alias.weights == step.weights
    return deployment.progress.effect > 0


def unserved(deployment: Deployment, index: int, alias: Alias | None) -> tuple[int, ...]:
    """Versions to which that step of the plan gives traffic, and that have none now and may not run: the deployment has
    not started them before it, or has taken them away since."""
    step = deployment.plan[index]
    given = [version for version, weight in step.weights.items() if weight] if isinstance(step, Shift) else []
    has = alias.weights if alias else {}
    return tuple(version for version in given if not has.get(version) and not _runs(version, index, deployment))


def _runs(version: int, index: int, deployment: Deployment) -> bool:
    started = any(isinstance(step, Start) and step.version == version for step in deployment.plan[:index])
    since = deployment.plan[index : deployment.progress.index + 1]
    return started and not any(isinstance(step, Retire) and step.version == version for step in since)


def difference(deployment: Deployment, observation: Observation) -> str | None:
    """How the alias differs from what this deployment left there: somebody else has changed it."""
    alias = observation.alias
    if deployment.progress.overrules and not _was_ours(deployment, observation):
        return None
    left = _left(deployment)
    if alias is None:
        return _told(deployment, left, "it is gone") if left is not None else None
    if observation.alias_revision <= deployment.began_on:
        return None
    if left is None and steps.goes_back(deployment.status) and not _was_ours(deployment, observation):
        return None  # it goes back because of what it found there, and has yet to write over it
    ours = _set_by_us(deployment, alias)
    if ours is not None:
        return None if alias.weights == ours else _told(deployment, ours, f"it has {steps.shares(alias.weights)}")
    return _told(deployment, left, f"it has {steps.shares(alias.weights)}")


def is_ours(deployment: Deployment, alias: Alias) -> bool:
    """Whether the alias carries weights that this deployment gave it, on whichever way."""
    named = _named(deployment, alias)
    return named is not None and alias.weights == named[2].weights


def _named(deployment: Deployment, alias: Alias) -> tuple[str, int, Shift] | None:
    """The way, the index and the shift that the alias says it was set by, if that is one of this deployment's."""
    name, _, rest = alias.step.partition("/")
    way, _, rest = rest.partition("/")
    number = rest.partition("/")[0]
    if name != deployment.id or not number.isdigit():
        return None
    known, index = deployment.way_back if way == "back" else deployment.plan, int(number)
    step = known[index] if index < len(known) else None
    return (way, index, step) if isinstance(step, Shift) else None


def _set_by_us(deployment: Deployment, alias: Alias) -> Weights | None:
    """The weights of the step that the alias names, if that may have been the last to set it."""
    named = _named(deployment, alias)
    if named is None:
        return None
    way, index, step = named
    return step.weights if index in _latest(deployment, way) else None


def _latest(deployment: Deployment, way: str) -> set[int | None]:
    """Indices of the shifts that may have been the last to set the weights, on that way."""
    back = steps.goes_back(deployment.status)
    if back != (way == "back"):
        return set()
    index = deployment.progress.index
    begin = deployment.turned if back else 0
    last = steps.last_of(Shift, deployment.steps[begin:index])
    return {index, None if last is None else begin + last}


def _left(deployment: Deployment) -> Weights | None:
    """The weights that this deployment set last, on the way that it goes now; `None` before the first."""
    begin = deployment.turned if steps.goes_back(deployment.status) else 0
    taken = [step for step in deployment.steps[begin : deployment.progress.index] if isinstance(step, Shift)]
    return taken[-1].weights if taken else None


def _was_ours(deployment: Deployment, observation: Observation) -> bool:
    return observation.alias is not None and observation.alias.step == steps.key(deployment)


def _told(deployment: Deployment, expected: Weights | None, found: str) -> str:
    wanted = f"gave it {steps.shares(expected)}" if expected is not None else "found it otherwise"
    return (
        f'alias "{deployment.alias}" of "{deployment.function}" was changed by somebody else: '
        f"this deployment {wanted}, now {found}"
    )


def moved(deployment: Deployment, observation: Observation) -> bool:
    """Whether any step of the plan has given out traffic, be it one that is to be taken again."""
    alias = observation.alias
    return deployment.traffic_since > 0 or (alias is not None and alias.step.startswith(f"{deployment.id}/"))
