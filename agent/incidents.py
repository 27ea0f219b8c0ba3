"""What instances ran into, kept for those who ask: the last of it by the agent, each in the output of its instance.

So whoever reads what an instance printed finds how it ended among it, and whoever looks at the node finds who it was
that used up its memory.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from agent.cause import Cause
from agent.output import tell
from hotswap.model import Version

log = logging.getLogger(__name__)

KEPT = 200


@dataclass(frozen=True, slots=True)
class Incident:
    at: float
    """Unix time."""
    function: str
    version: int
    instance: str
    cause: Cause
    text: str


class Incidents:
    def __init__(self) -> None:
        self._kept: deque[Incident] = deque(maxlen=KEPT)

    def add(self, version: Version, instance: str, cause: Cause, text: str, *, output: Path) -> None:
        """`output` is the file of what the instance printed."""
        now = time.time()
        self._kept.append(Incident(now, version.function, version.number, instance, cause, text))
        log.warning("%s:%d %s %s (%s)", version.function, version.number, instance, text, cause)
        tell(output, f"{text} ({cause})", at=now)

    def of(self, function: str = "") -> list[Incident]:
        """Of one function, or of all; the oldest first."""
        return [one for one in self._kept if function in ("", one.function)]
