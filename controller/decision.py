"""What a decision rests on and what it may be: `Observation` in, `Decision` out. See `controller.decide`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hotswap.comparison import Comparison
from hotswap.deployment import Ramp, Retire, Shift, Start, Status
from hotswap.judge.basis import Epoch, Sum
from hotswap.metrics import Tally
from hotswap.model import Alias, Weights
from hotswap.receipt import Judged
from hotswap.usage import Usage


@dataclass(frozen=True, slots=True)
class Pending:
    """The effect was made, but does not show everywhere yet."""


@dataclass(frozen=True, slots=True)
class Shows:
    """The effect holds everywhere."""

    note: str = ""
    nodes: int = 0
    """Of a start: the revision up to which the nodes were known; it holds as long as none is announced anew."""


@dataclass(frozen=True, slots=True)
class Broke:
    """The effect will not show."""

    why: str
    faulty: bool = True
    """The version itself is to blame."""


Seen = Pending | Shows | Broke


@dataclass(frozen=True, slots=True)
class Counted:
    """What the routers counted, by version and by the revision of the weights under which it was picked."""

    tallies: Mapping[tuple[int, int], Tally]
    begun: datetime
    """When they were asked: what happened since then is not in it."""
    usages: Mapping[tuple[int, int], Usage] = field(default_factory=dict)
    """Of a test: users and reports, those that were told later among them."""
    nodes: Mapping[int, Mapping[str, Sum]] = field(default_factory=dict)
    """By version and node, of versions that have errors."""
    fresh: int = 0
    """Invocations of all versions since the time before that, ..."""
    lapse: timedelta = timedelta()
    """... which was so long ago; no time where there was none."""
    lately: int = 0
    """Since the first time in the last while, ..."""
    span: timedelta = timedelta()
    """... which was so long ago."""
    earlier: Mapping[tuple[int, int], Tally] = field(default_factory=dict)
    """The tallies as they were then."""

    def of(self, version: int, *, since: int) -> Tally:
        """All that the version has answered under the weights of that revision and of later ones."""
        return _of(self.tallies, version, since)

    def lately_of(self, version: int, *, since: int) -> Tally:
        """The same of the last while."""
        return self.of(version, since=since).since(_of(self.earlier, version, since))

    def usage_of(self, version: int, *, since: int) -> Usage:
        """The same of users and reports."""
        return Usage.total(
            usage for (number, revision), usage in self.usages.items() if number == version and revision >= since
        )

    def epochs(self, version: int, stable: int, *, since: int) -> list[Epoch]:
        """What both answered under each set of weights, from that revision on."""
        revisions = sorted({revision for _, revision in self.tallies if revision >= since})
        return [self.epoch(version, stable, revision) for revision in revisions]

    @property
    def invocations(self) -> int:
        return sum(tally.invocations for tally in self.tallies.values())

    def epoch(self, version: int, stable: int, revision: int) -> Epoch:
        mine = self.tallies.get((version, revision)) or Tally.zero()
        beside = self.tallies.get((stable, revision)) or Tally.zero()
        return Epoch(
            invocations=mine.invocations,
            errors=mine.errors,
            beside=beside.invocations,
            beside_errors=beside.errors,
        )


def _of(tallies: Mapping[tuple[int, int], Tally], version: int, since: int) -> Tally:
    return Tally.total(
        [tally.counts for (number, revision), tally in tallies.items() if number == version and revision >= since]
    )


@dataclass(frozen=True, slots=True)
class Uncounted:
    """There are no figures, or none were asked for."""

    why: str = ""
    failures: int = 0
    """How many looks in a row told nothing."""

    @property
    def text(self) -> str:
        why = self.why or "the routers do not answer"
        return f"{why} ({self.failures} times in a row)" if self.failures > 1 else why


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    alias: Alias | None
    alias_revision: int
    """At which the alias was last written; 0 when there is none."""
    watched: datetime
    """Since when this controller has watched it."""
    seen: Seen = Pending()
    serving: frozenset[int] = frozenset()
    """Versions that have a ready instance, of those that the way back would start."""
    counted: Counted | Uncounted = Uncounted()
    turn: bool = False
    """Of a queued deployment: the alias is free, and no other one waits before it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this time, unless something changes."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Act:
    """Make the effect of the present step."""

    step: Start | Shift | Retire


@dataclass(frozen=True, slots=True)
class Begin:
    """Plan a queued deployment by what is there now, and take the alias for it."""


@dataclass(frozen=True, slots=True)
class Extend:
    """The phase goes on: its sample says nothing yet."""

    judged: Judged


@dataclass(frozen=True, slots=True)
class Advance:
    judged: Judged | None = None
    note: str = ""
    weights_revision: int = 0
    """Of the weights that hold now; a phase counts from there."""
    nodes_revision: int = 0
    """Up to which the nodes were known that this rests on; 0 when it does not."""


@dataclass(frozen=True, slots=True)
class Reweigh:
    """The version has another weight, as its harm budget says: the rest of the plan begins with these."""

    shift: Shift
    ramp: Ramp
    judged: Judged
    weights_revision: int
    """Of the weights that hold now."""


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """The node is at fault: the version goes from there, and its phase begins anew without it."""

    node: str
    version: int
    judged: Judged


@dataclass(frozen=True, slots=True)
class GoBack:
    index: int
    """Into the way back: what runs already need not be started."""
    reason: str
    judged: Judged | None = None
    faulty: bool = False
    """It is the version's own fault."""


@dataclass(frozen=True, slots=True)
class Hold:
    reason: str
    until: datetime
    judged: Judged | None = None
    faulty: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    until: datetime


@dataclass(frozen=True, slots=True)
class Unpause:
    """Go on where it was paused."""


@dataclass(frozen=True, slots=True)
class Hasten:
    """Leave out every phase and test that is left."""

    note: str
    weights_revision: int = 0


@dataclass(frozen=True, slots=True)
class Crown:
    """End a test: the winner takes all traffic, the others are retired."""

    winner: int
    note: str


@dataclass(frozen=True, slots=True)
class Compared:
    """What a test found, for the person who decides; `None` when that could not be counted in time."""

    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class Remind:
    """Say once more that a person is needed."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Resume:
    """Make the effect of a step anew, as another attempt."""

    index: int
    overrules: bool = False
    """A shift writes over what somebody else did to the alias."""
    weights: Weights | None = None
    """That the shift gives in place of its own."""
    first: tuple[int, ...] = ()
    """Versions that have to be started before that."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Freeze:
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Finish:
    status: Status
    reason: str = ""
    judged: Judged | None = None
    note: str = ""
    faulty: bool = False


Change = (
    Extend
    | Advance
    | Reweigh
    | LeaveOut
    | GoBack
    | Hold
    | Pause
    | Unpause
    | Hasten
    | Compared
    | Crown
    | Resume
    | Freeze
    | Remind
    | Finish
)
"""What changes the record and nothing else."""

Decision = Wait | Act | Begin | Change
