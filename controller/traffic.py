"""What the alias tells about a deployment: whether its weights were set, and whether somebody else changed them. Pure.

An alias names the attempt that set its weights (`Alias.step`). So an effect is told from an intent, and a foreign hand
from our own, by the alias alone.
"""

from controller import steps
from controller.decision import Observation
from hotswap.deployment import Deployment, Shift, Status
from hotswap.model import Alias, Weights


def written(deployment: Deployment, alias: Alias | None) -> bool:
    """Whether the effect of the present step was made. Weights tell it themselves: the alias names who set them."""
    step = steps.present(deployment)
    if isinstance(step, Shift):
        return alias is not None and alias.step == steps.key(deployment) and alias.weights == step.weights
    return deployment.progress.effect > 0


def difference(deployment: Deployment, observation: Observation) -> str | None:
    """How the alias differs from what this deployment left there: somebody else has changed it."""
    if deployment.progress.overrules and not _was_ours(deployment, observation):
        return None
    expected = _expected(deployment, observation)
    alias = observation.alias
    if alias is None:
        return _told(deployment, expected, "it is gone") if expected is not None else None
    if observation.alias_revision <= observation.created:
        return None
    ours = alias.step.startswith(f"{deployment.id}/")
    if expected is None:
        foreign = deployment.status in {Status.RUNNING, Status.HELD} and not ours
        return _told(deployment, None, f"it has {steps.shares(alias.weights)}") if foreign else None
    if ours and alias.weights == expected:
        return None
    return _told(deployment, expected, f"it has {steps.shares(alias.weights)}")


def _expected(deployment: Deployment, observation: Observation) -> Weights | None:
    """The weights that this deployment set last; `None` before the first of the steps that count now."""
    index = deployment.progress.index
    present = steps.present(deployment)
    if isinstance(present, Shift) and _was_ours(deployment, observation):
        return present.weights
    last = steps.last_shift(deployment, before=index)
    if last is None:
        return None
    shift = deployment.steps[last]
    return shift.weights if isinstance(shift, Shift) else None


def _was_ours(deployment: Deployment, observation: Observation) -> bool:
    return observation.alias is not None and observation.alias.step == steps.key(deployment)


def _told(deployment: Deployment, expected: Weights | None, found: str) -> str:
    wanted = f"gave it {steps.shares(expected)}" if expected is not None else "found it otherwise"
    return (
        f'alias "{deployment.alias}" of "{deployment.function}" was changed by somebody else: '
        f"this deployment {wanted}, now {found}"
    )


def moved(deployment: Deployment, observation: Observation) -> bool:
    """Whether any step of the plan has given out traffic."""
    index = deployment.progress.index
    if steps.last_shift(deployment, before=index) is not None:
        return True
    return isinstance(steps.present(deployment), Shift) and _was_ours(deployment, observation)
