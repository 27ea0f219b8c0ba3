"""What must hold in every world, whatever breaks. A new one is a class with `seen` or `at_end`, named in `ALL`."""

from tests.simulation.invariants.ends import BadIsCaught, EndsRight, EverythingEnds, GoodIsKept
from tests.simulation.invariants.invariant import Invariant, Surroundings
from tests.simulation.invariants.running import NothingLeftOver, NothingUnderfoot, StartedEverywhere, WeightsAddUp
from tests.simulation.invariants.writes import EventsAreWhole, OneDeployment, OneWriter, ShowsOnce

ALL: tuple[type[Invariant], ...] = (
    OneWriter,
    WeightsAddUp,
    ShowsOnce,
    EventsAreWhole,
    OneDeployment,
    EndsRight,
    BadIsCaught,
    GoodIsKept,
    StartedEverywhere,
    NothingUnderfoot,
    EverythingEnds,
    NothingLeftOver,
)

__all__ = ["ALL", "Invariant", "NothingLeftOver", "Surroundings"]
