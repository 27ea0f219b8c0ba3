"""Where the versions of a deployment run: on every node, or node by node while it rolls. Pure.

Nothing of it is remembered: it is read from the steps that were taken. A version that is to be started on some nodes
first begins nowhere, every other one begins everywhere; each start adds nodes, and each retirement takes some away.
So a node that joins, dies or comes back has its place without anybody having to write it down.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from controller.steps import goes_back, versions
from hotswap.deployment import AnyStep, Deployment, Retire, Shift, Start, Status


@dataclass(frozen=True, slots=True)
class Where:
    """A set of nodes: those that are named, or all but those that are named."""

    nodes: frozenset[str] = frozenset()
    all_but: bool = False

    def __contains__(self, node: str) -> bool:
        return (node in self.nodes) != self.all_but

    def __or__(self, other: "Where") -> "Where":
        match self.all_but, other.all_but:
            case True, True:
                return Where(self.nodes & other.nodes, all_but=True)
            case True, False:
                return Where(self.nodes - other.nodes, all_but=True)
            case False, True:
                return Where(other.nodes - self.nodes, all_but=True)
            case _:
                return Where(self.nodes | other.nodes)

    def __sub__(self, other: "Where") -> "Where":
        return (self.outside | other).outside

    @property
    def outside(self) -> "Where":
        return Where(self.nodes, all_but=not self.all_but)


NOWHERE = Where()
EVERYWHERE = Where(all_but=True)


def of(step: Start | Retire) -> Where:
    """The nodes that a step is about."""
    return EVERYWHERE if step.nodes is None else Where(frozenset(step.nodes))


def placed(deployment: Deployment) -> dict[int, Where]:
    """Where each version that the deployment names has to run for its sake."""
    if deployment.status.terminal or deployment.status is Status.QUEUED:
        return {}
    rolled = {step.version for step in deployment.plan if isinstance(step, Start) and step.nodes is not None}
    named = {version for step in (*deployment.plan, *deployment.way_back) for version in versions(step)}
    places = {version: NOWHERE if version in rolled else EVERYWHERE for version in named}
    for step in _taken(deployment):
        match step:
            case Start():
                places[step.version] |= of(step)
            case Retire(version=version) if version in places:
                places[version] -= of(step)
            case _:
                pass
    return places


def _taken(deployment: Deployment) -> Iterable[AnyStep]:
    """The steps that were entered, the present one included."""
    index = deployment.progress.index
    if not goes_back(deployment.status):
        return deployment.plan[: index + 1]
    return (*deployment.plan[: deployment.reached + 1], *deployment.way_back[deployment.turned : index + 1])


def first_needed(deployment: Deployment, serving: frozenset[int]) -> int:
    """Index of the way back at which it has to begin: what runs where it should need not be started.

    `serving` are the versions that have an instance ready.
    """
    places = placed(deployment)
    for index, step in enumerate(deployment.way_back):
        if isinstance(step, Start) and not _covered(step, places.get(step.version, NOWHERE), serving):
            return index
    return _last_shift(deployment.way_back)


def again_from(deployment: Deployment) -> int:
    """Index of the way back from which a frozen one is tried again: where its present group of steps begins."""
    index = deployment.progress.index
    starts = [i for i, step in enumerate(deployment.way_back[: index + 1]) if isinstance(step, Start)]
    return max(starts, default=0)


def _covered(step: Start, where: Where, serving: frozenset[int]) -> bool:
    return step.version in serving and of(step) - where == NOWHERE


def _last_shift(way_back: list[AnyStep]) -> int:
    return max((index for index, step in enumerate(way_back) if isinstance(step, Shift)), default=0)
