"""How long to wait before an instance that failed is started again."""

from dataclasses import dataclass
from random import Random

FIRST = 0.2
"""Seconds before the first restart."""
LONGEST = 60.0
STEADY = 30.0
"""An instance that served this many seconds had a good start: what comes next is a first failure."""
CRASH_LOOP = 5
"""Failures in a row that make a crash loop."""


@dataclass(frozen=True, slots=True)
class Streak:
    """Failures in a row."""

    failures: int = 0

    def failed(self, *, served: float) -> "Streak":
        """After one more failure, of an instance that served for so many seconds."""
        return Streak(1 if served >= STEADY else self.failures + 1)

    @property
    def crash_loop(self) -> bool:
        return self.failures >= CRASH_LOOP

    def pause(self, random: Random) -> float:
        """Seconds: doubled with each failure, of which half is chance, so that nodes do not restart in step."""
        longest = min(LONGEST, FIRST * 2.0 ** (self.failures - 1))
        return longest * (0.5 + random.random() / 2)
