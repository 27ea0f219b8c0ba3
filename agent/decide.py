"""Deciding, apart from doing: from what a node should run and what it runs to what is started and what is taken away.

Make before break: what is no longer wanted goes only when all that is wanted serves. So a version that cannot start
takes nothing from the one that works.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """What counts of an instance, or of the attempt to have one."""

    key: Hashable
    version: int
    ready: bool = False
    """It is published, so invocations may reach it."""
    known: bool = False
    """And every router knows of it."""
    retiring: bool = False
    worn: bool = False
    """It serves still, and is to go as soon as another has taken its place."""


@dataclass(frozen=True, slots=True)
class Decision:
    start: tuple[int, ...] = ()
    """One version number for each instance to start."""
    retire: tuple[Hashable, ...] = ()
    """Keys."""


def decide(desired: Mapping[int, int], views: Sequence[View]) -> Decision:
    """`desired` maps versions to numbers of instances; `views` are in the order of their starts."""
    staying = [view for view in views if not view.retiring]
    lasting = [view for view in staying if not view.worn]
    start: list[int] = []
    retire: list[Hashable] = []
    for version, wanted in desired.items():
        mine = [view for view in lasting if view.version == version]
        start += [version] * (wanted - len(mine))
        surplus = len(mine) - wanted
        if wanted and surplus > 0:
            retire += [view.key for view in _least_useful(mine)[:surplus]]
    unwanted = [view for view in staying if view.worn or not desired.get(view.version)]
    may_break = served(desired, staying)
    retire += [view.key for view in unwanted if may_break or not view.ready]
    return Decision(tuple(start), tuple(retire))


def served(desired: Mapping[int, int], views: Sequence[View]) -> bool:
    """Whether all that is wanted is ready and known to the routers."""
    return all(
        sum(view.known and not (view.retiring or view.worn) for view in views if view.version == version) >= wanted
        for version, wanted in desired.items()
    )


def _least_useful(views: Sequence[View]) -> list[View]:
    """Those that do not serve first, then the youngest."""
    youngest_first = views[::-1]
    return sorted(youngest_first, key=lambda view: (view.known, view.ready))
