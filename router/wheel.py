"""Limits of time for many at once, by one coarse timer for a whole worker instead of one for each of them.

Most limits are moved on before they are over, and by each request: so moving one on must cost next to nothing. What is
timed stands in the slot of the tick at which it is looked at next. A limit that moves on leaves it there, and the look
finds that it is not over and puts it where it now belongs; only one that moves forward takes it to an earlier slot.
"""

import math
from collections import defaultdict
from typing import Final

from mypy_extensions import mypyc_attr

TICK: Final = 0.1
"""Seconds; a limit is found to be over so much too late at most."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Timed:
    """Has one limit at a time; infinity is none."""

    deadline: float = math.inf
    """When it is over, by the clock of the wheel's owner."""
    look: float = math.inf
    """When the wheel looks at it next."""

    def overdue(self, now: float) -> None:
        """The limit is over; there is none any more."""
        raise NotImplementedError


class Wheel:
    def __init__(self, now: float) -> None:
        self._slots: defaultdict[int, set[Timed]] = defaultdict(set)
        self._turned = _tick(now)

    def __len__(self) -> int:
        """How many stand in it."""
        return sum(map(len, self._slots.values()))

    def limit(self, timed: Timed, deadline: float) -> None:
        """Replaces the limit that it had; infinity is none."""
        timed.deadline = deadline
        if deadline < timed.look:
            self._take_out(timed)
            self._put(timed)

    def forget(self, timed: Timed) -> None:
        timed.deadline = math.inf
        self._take_out(timed)

    def turn(self, now: float) -> None:
        """To be called every tick; what is missed is made up for."""
        for tick in range(self._turned + 1, _tick(now) + 1):
            self._turned = tick
            for timed in self._slots.pop(tick, ()):
                timed.look = math.inf
                if timed.deadline <= now:
                    timed.deadline = math.inf
                    timed.overdue(now)
                elif timed.deadline < math.inf:
                    self._put(timed)

    def _put(self, timed: Timed) -> None:
        tick = max(_tick(timed.deadline), self._turned) + 1
        timed.look = tick * TICK
        self._slots[tick].add(timed)

    def _take_out(self, timed: Timed) -> None:
        if timed.look < math.inf:
            tick = round(timed.look / TICK)
            self._slots[tick].discard(timed)
            if not self._slots[tick]:
                del self._slots[tick]
            timed.look = math.inf


def _tick(time: float) -> int:
    return int(time / TICK)
