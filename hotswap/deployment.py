"""A deployment as it is stored: its plan of steps, where it stands, what was judged, and what was asked of it.

The way back is planned at the start and stored beside the plan, so that a rollback needs nothing that could have
changed or gone since.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from hotswap.comparison import Comparison
from hotswap.judge.verdict import Verdict
from hotswap.metric import Metric
from hotswap.model import Model, Record, Sticky, VersionNumber, Weight, Weights
from hotswap.receipt import Receipt
from hotswap.requests import AnyRequest, Limits, OnFailure
from hotswap.suite import Suite


class Step(Model, frozen=True, kw_only=True, tag_field="step"):
    """One thing that a deployment does, as data; `controller.engine` knows how."""


class Start(Step, frozen=True, kw_only=True, tag="Start"):
    """Run the version, ready and known to the routers, on every node of its placement, or on those that are named."""

    version: VersionNumber
    limit: timedelta = timedelta(minutes=5)
    """How long that may take."""
    nodes: list[str] | None = None
    """`None`: all there are, those that join included. What is named and gone is passed over."""
    least_serving: int = 0
    """Nodes that must serve the function, by whatever version, before this begins."""


class Shift(Step, frozen=True, kw_only=True, tag="Shift"):
    """Give the alias these weights, and wait until the routers have them."""

    weights: Weights
    latency_limit: timedelta | None = None
    """Have invocations slower than this counted exactly."""
    sticky: Sticky | msgspec.UnsetType | None = msgspec.UNSET
    """How users are tied to versions from here on; unset: as they are."""
    without: dict[VersionNumber, list[str]] = {}
    """Nodes on which a version is not to run any more. What it answered before this counts for it no more."""


class Bake(Step, frozen=True, kw_only=True, tag="Bake"):
    """Hold the weights for the duration, then judge the versions by the limits."""

    versions: list[VersionNumber]
    duration: timedelta
    limits: Limits


class Ramp(Step, frozen=True, kw_only=True, tag="Ramp"):
    """Hold the weights until the harm budget says otherwise: then the rest of the plan begins with other weights. When
    the version has had traffic for the duration, judge it by the limits."""

    version: VersionNumber
    budget: int
    """How many of its invocations may fail."""
    duration: timedelta
    limits: Limits
    began: datetime | None = None
    """When it was to have its first traffic; `None` before that."""
    levels: dict[int, Weight] = {}
    """Its weight before this, each by the revision of the alias."""


class Test(Step, frozen=True, kw_only=True, tag="Test"):
    """Let the version stand for a while, then run its tests; they invoke it by name, beside all traffic."""

    __test__: ClassVar[bool] = False  # pytest collects what is called so

    version: VersionNumber
    suite: Suite
    soak: timedelta
    """How long it stands first."""
    duration: timedelta
    """How long the tests may take."""


class AwaitPromotion(Step, frozen=True, kw_only=True, tag="AwaitPromotion"):
    """Hold the weights until a person names the version that takes all traffic."""

    versions: list[VersionNumber]
    """Of which one may win."""
    judged: list[VersionNumber]
    """Of these, the ones that the limits are for."""
    limits: Limits
    limit: timedelta
    """After this it goes back by itself."""
    weights: Weights
    """Of the test."""
    metrics: list[str]
    """That are compared, by the names of the guide or as they are declared."""
    declared: dict[str, Metric] = {}
    primary: list[str] = []
    """Of which the winner must win one; of all, where none is named."""
    planned: int
    """Units of two versions together that the comparison is made for."""
    automatic: bool = False
    """Where the comparison names a winner, that one is promoted without a person."""
    before: Sticky | None = None
    """How users were tied to versions before the test, and are again after it."""


class Keep(Step, frozen=True, kw_only=True, tag="Keep"):
    """Leave a version that has no traffic running and warm, one command from being back."""

    version: VersionNumber
    duration: timedelta
    versions: list[VersionNumber]
    """Those that have the traffic meanwhile, judged by the limits."""
    limits: Limits


class Retire(Step, frozen=True, kw_only=True, tag="Retire"):
    """Stop the version wherever no alias names it and no one keeps it, or on the nodes that are named."""

    version: VersionNumber
    nodes: list[str] | None = None


EffectStep = Start | Shift | Test | Retire
"""Is done when what it brings about shows everywhere."""
HoldingStep = Bake | Ramp | AwaitPromotion | Keep
"""Is done when its time is over, or somebody says so; the weights stay, and the versions that have them are judged."""
AnyStep = EffectStep | HoldingStep


class Status(StrEnum):
    QUEUED = "Queued"
    """Waits until the alias is free."""
    RUNNING = "Running"
    PAUSED = "Paused"
    """A person has it stand still; its traffic stays as it is, and is judged."""
    AWAITING_PROMOTION = "AwaitingPromotion"
    """Its test is over: a person names the winner."""
    ROLLING_BACK = "RollingBack"
    HELD = "Held"
    """Needs a person: what is missing is in `reason`, with the next command."""
    FROZEN = "Frozen"
    """The way back failed; nothing is touched any more until a person decides."""
    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    """Failed before any traffic moved."""
    ABORTED = "Aborted"

    @property
    def terminal(self) -> bool:
        return self in {Status.SUCCEEDED, Status.ROLLED_BACK, Status.FAILED, Status.ABORTED}


class Verb(StrEnum):
    """What a person may ask of a running deployment."""

    ROLLBACK = "rollback"
    ABORT = "abort"
    PROMOTE = "promote"
    """Go on past a hold or the rest of a phase; with a winner, end a test."""
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    """Carry out a step once more, and go on from there."""


class Ask(Model, frozen=True, kw_only=True):
    verb: Verb
    who: str
    why: str
    at: datetime
    full: bool = False
    """Promote past every phase and test that is left."""
    winner: VersionNumber | None = None
    """Promote this version of a test."""
    adopt: bool = False
    """Resume with the weights that somebody else gave the alias, instead of giving it ours again."""
    step: int | None = None
    """Retry from this step of the plan, as people count: from 1."""

    def same(self, other: "Ask") -> bool:
        """Whether both ask for the same thing, whoever asks and why."""
        return (self.verb, self.full, self.winner, self.adopt, self.step) == (
            other.verb,
            other.full,
            other.winner,
            other.adopt,
            other.step,
        )


class Progress(Model, frozen=True, kw_only=True):
    """Where the present step stands: intended first, then `effect` when it was written, `observed` when it shows."""

    index: int = 0
    """Into `plan`, or into `way_back` when the status is RollingBack."""
    attempt: Annotated[int, msgspec.Meta(ge=1)] = 1
    entered: datetime
    deadline: datetime
    """When the step has failed for lack of an end."""
    effect: int = 0
    """Revision at which the effect was written; 0 while it is only intended."""
    observed: datetime | None = None
    """When the effect was seen to hold everywhere; a phase is timed from here."""
    overrules: bool = False
    """A person decided that the next shift writes over what somebody else did to the alias."""


class Deployment(Record, frozen=True, kw_only=True):
    id: str
    request: AnyRequest
    status: Status
    plan: list[AnyStep]
    """Empty while it is queued: what is there when its turn comes decides."""
    way_back: list[AnyStep]
    stable: VersionNumber | None = None
    """The version that had the traffic before; `None` for the first deployment of an alias."""
    on_failure: OnFailure = OnFailure.ROLLBACK
    progress: Progress
    reached: int = 0
    """Index of the plan at which it turned back; told once it goes back."""
    turned: int = 0
    """Index of the way back at which that began."""
    paused: datetime | None = None
    """Since when it stands still; that time is not taken from any deadline."""
    faulty: bool = False
    """It was the version itself that failed: it is not deployed again without force."""
    began_on: int = 0
    """Revision of the alias when it began; 0 where there was none."""
    traffic_since: int = 0
    """Revision of the first weights that it gave; 0 before that."""
    comparison: Comparison | None = None
    """Of the versions of a test, when its time is over."""
    retry_of: str = ""
    """Id of the deployment that is tried again."""
    created: datetime
    finished: datetime | None = None
    who: str = ""
    reason: str = ""
    """Why it stands as it does, in a sentence, for every status but Queued, Running and Succeeded."""
    verdicts: list[Verdict] = []
    receipt: str = ""
    """Hash of the receipt of the last of them; its events have the receipts."""
    asked: Ask | None = None
    events: int = 0
    """Number of the last event."""

    @property
    def function(self) -> str:
        return self.request.function_name

    @property
    def alias(self) -> str:
        return self.request.alias

    @property
    def version(self) -> int:
        return self.request.version

    @property
    def steps(self) -> list[AnyStep]:
        """The steps that count now: the plan, or the way back."""
        return self.way_back if self.status in {Status.ROLLING_BACK, Status.FROZEN, Status.ROLLED_BACK} else self.plan


class Active(Record, frozen=True, kw_only=True):
    """The one deployment that runs on an alias."""

    function: str
    alias: str
    deployment: str


class Event(Record, frozen=True, kw_only=True):
    deployment: str
    number: int
    at: datetime
    kind: str
    """queued, started, step, weights, verdict, compared, rollback, held, paused, asked, finished, failed, node."""
    text: str
    figures: dict[str, float] = {}
    receipt: Receipt | None = None
    """Of the verdict that it tells of."""


class Quarantine(Record, frozen=True, kw_only=True):
    """A version that failed: it is not deployed again unless somebody insists."""

    function: str
    version: VersionNumber
    deployment: str
    why: str
    at: datetime


class Leader(Record, frozen=True, kw_only=True):
    controller: str
    address: str
    """gRPC address of the controller that leads."""
    rest: str = ""
    """Its REST address."""
    since: datetime
