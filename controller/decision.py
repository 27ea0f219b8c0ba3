"""What a decision rests on and what it may be: `Observation` in, `Decision` out. See `controller.decide`."""

from dataclasses import dataclass
from datetime import datetime

from hotswap.deployment import Retire, Shift, Start, Status, Verdict
from hotswap.metrics import Tally
from hotswap.model import Alias


@dataclass(frozen=True, slots=True)
class Pending:
    """The effect was made, but does not show everywhere yet."""


@dataclass(frozen=True, slots=True)
class Shows:
    """The effect holds everywhere."""


@dataclass(frozen=True, slots=True)
class Broke:
    """The effect will not show."""

    why: str


Seen = Pending | Shows | Broke


@dataclass(frozen=True, slots=True)
class Uncounted:
    """There are no figures, or none were asked for."""

    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    alias: Alias | None
    alias_revision: int
    """At which the alias was last written; 0 when there is none."""
    created: int
    """Revision at which the deployment was created."""
    watched: datetime
    """Since when this controller has watched it."""
    seen: Seen = Pending()
    serving: frozenset[int] = frozenset()
    """Versions that have a ready instance, of those that the way back would start."""
    counted: Tally | Uncounted = Uncounted()
    """What the routers counted of the version since the phase began."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this time, unless something changes."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Act:
    """Make the effect of the present step."""

    step: Start | Shift | Retire


@dataclass(frozen=True, slots=True)
class Extend:
    """The phase goes on: its sample says nothing yet."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Advance:
    verdict: Verdict | None = None
    note: str = ""
    weights_revision: int = 0
    """Of the weights that hold now; a phase counts from there."""


@dataclass(frozen=True, slots=True)
class GoBack:
    index: int
    """Into the way back: what runs already need not be started."""
    reason: str
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    reason: str
    until: datetime
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Make the effect of a step anew, as another attempt."""

    index: int
    overrules: bool = False
    """A shift writes over what somebody else did to the alias."""


@dataclass(frozen=True, slots=True)
class Freeze:
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    status: Status
    reason: str = ""
    verdict: Verdict | None = None
    note: str = ""


Change = Extend | Advance | GoBack | Hold | Resume | Freeze | Finish
"""What changes the record and nothing else."""

Decision = Wait | Act | Change
