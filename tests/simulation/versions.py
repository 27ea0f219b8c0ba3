"""What the versions of a world are like, as nobody but the simulation knows."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    start: float = 1.0
    """Seconds from the start of an instance until it is ready."""
    starts: bool = True
    """False: each start fails, and the agent says so."""
    hangs: bool = False
    """It never becomes ready, and nobody says why."""
    error_rate: float = 0.0
    breaks: float = 0.0
    """Time from which on it has errors."""

    @property
    def serves(self) -> bool:
        return self.starts and not self.hangs

    @property
    def bad(self) -> bool:
        return self.error_rate > 0

    def failing(self, begin: float, end: float) -> float:
        """Share of the invocations in that time that are errors."""
        if end <= begin:
            return 0.0
        return self.error_rate * max(0.0, end - max(begin, self.breaks)) / (end - begin)


def drawn(random: Random, *, until: float) -> Nature:
    start = random.choice([0.05, 0.5, 3.0, 20.0])
    match random.choices(["good", "bad", "breaks", "fails", "hangs"], weights=[50, 15, 15, 12, 8])[0]:
        case "bad":
            return Nature(start=start, error_rate=random.choice([0.08, 0.3, 1.0]))
        case "breaks":
            return Nature(start=start, error_rate=random.choice([0.3, 1.0]), breaks=random.uniform(0, until))
        case "fails":
            return Nature(start=start, starts=False)
        case "hangs":
            return Nature(start=start, hangs=True)
        case _:
            return Nature(start=start)
