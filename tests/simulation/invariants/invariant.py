"""What an invariant is: it sees every revision of the store as it is written, and the end; it says what is wrong, or
nothing. Invariants share no code with the engine beyond its words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hotswap.model import Alias
from tests.simulation.cluster import Picture, Written
from tests.simulation.nodes import RunnerNode
from tests.simulation.routers import RouterHosts
from tests.simulation.scenario import Scenario

Told = Iterator[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What may be looked at."""

    picture: Picture
    """With the revision that is seen applied."""
    nodes: dict[str, RunnerNode]
    routers: RouterHosts
    scene: Scenario


class Invariant:
    def __init__(self, around: Surroundings) -> None:
        self.picture = around.picture
        self.nodes = around.nodes
        self.routers = around.routers
        self.scene = around.scene

    def seen(self, written: Written) -> Told:
        yield from ()

    def at_end(self) -> Told:
        """When nothing breaks any more and all has had its time."""
        yield from ()


def where(alias: Alias) -> str:
    return f"{alias.function}:{alias.name}"
