"""What cold starts took, part by part, since the agent began: of the whole node, so that there are as many series as
parts however many functions there are. Which versions are woken how often is in the ledger.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from agent.instance import Instance

BOUNDS = (0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; 0.015 is what the start of a Python function may take."""
UNTIL_READY = ("fetch", "spawn", "ready")
"""The parts that come one after the other, until it takes what has been sent."""
WITHIN = ("import", "init")
"""Those of `ready`."""
FIRST = "first"
"""The time from then to the end of the first answer, which ends a cold start."""
ALL = "all"


@dataclass(slots=True)
class Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """By bucket; the last one has no bound."""
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class ColdStarts:
    def __init__(self) -> None:
        self.parts = {part: Histogram() for part in (*UNTIL_READY, *WITHIN, FIRST, ALL)}
        self._unanswered: set[Instance] = set()
        """Woken, and not known to have answered."""

    def woken(self, instance: Instance) -> None:
        for part in (*UNTIL_READY, *WITHIN):
            self.parts[part].add(instance.figures.get(f"{part}_ms", 0.0) / 1e3)
        self._unanswered.add(instance)

    def look(self) -> None:
        """Which have answered since."""
        for instance in list(self._unanswered):
            self._look(instance)

    def ended(self, instance: Instance) -> None:
        """One that never answered was in vain, and is no cold start that took so long."""
        if instance in self._unanswered:
            self._look(instance)
            self._unanswered.discard(instance)

    def _look(self, instance: Instance) -> None:
        reading = instance.load.read() if instance.load else None
        if reading is None or reading.first_ms is None:
            return
        self._unanswered.discard(instance)
        first = reading.first_ms / 1e3
        self.parts[FIRST].add(first)
        self.parts[ALL].add(first + sum(instance.figures.get(f"{part}_ms", 0.0) for part in UNTIL_READY) / 1e3)
