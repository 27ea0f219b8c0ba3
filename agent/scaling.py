"""Deciding, apart from doing: whether one more instance of a version is woken, or one put to sleep.

Most are woken by their first connection, which routers make when all others have no room. But each worker of a router
knows only what it has sent itself; an instance knows what they all have sent. So one that has had more in flight than
its concurrency, at two looks in a row, has another woken.

With the least number awake none is put to sleep. Above it, the one that has had nothing to do for the idle time is. As
long as there is a little to do, routers spread it and none is idle for so long; so one is too many as well if what was
in flight on average, over an idle time in which their number did not change, fits into half of the others' room.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ROOM = 0.5
"""Of the concurrency of those that stay, how much may be used for one to be too many."""


@dataclass(frozen=True, slots=True)
class Look:
    """At an instance that is awake."""

    in_flight: int
    idle: float
    """Seconds; 0 while something is in flight."""
    queues: bool
    """It had more in flight than its concurrency, now and at the look before."""


@dataclass(frozen=True, slots=True)
class Scaling:
    wake: bool = False
    sleep: int | None = None
    """The place, among those looked at, of the one that is put to sleep."""


def scale(
    looks: Sequence[Look], *, least: int, concurrency: int, idle_timeout: float, average: float | None
) -> Scaling:
    """`average`: in flight at all of them, over an idle time in which they were the same; `None` if there was none."""
    if any(look.queues for look in looks):
        return Scaling(wake=True)
    free = [place for place, look in enumerate(looks) if not look.in_flight]
    if len(looks) <= least or not free:
        return Scaling()
    rested = max(free, key=lambda place: looks[place].idle)
    others = len(looks) - 1
    too_many = average is not None and others and average <= others * concurrency * ROOM
    return Scaling(sleep=rested) if looks[rested].idle >= idle_timeout or too_many else Scaling()
