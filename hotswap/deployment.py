"""A deployment as it is stored: its plan of steps, where it stands, what was judged, and what was asked of it.

The way back is planned at the start and stored beside the plan, so that a rollback needs nothing that could have
changed or gone since.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import msgspec

from hotswap.model import Model, Record, VersionNumber, Weights
from hotswap.requests import AnyRequest, Limits


class Step(Model, frozen=True, kw_only=True, tag_field="step"):
    """One thing that a deployment does, as data; `controller.engine` knows how."""


class Start(Step, frozen=True, kw_only=True, tag="Start"):
    """Run the version on every node of its placement, ready and known to the routers."""

    version: VersionNumber
    limit: timedelta = timedelta(minutes=5)
    """How long that may take."""


class Shift(Step, frozen=True, kw_only=True, tag="Shift"):
    """Give the alias these weights, and wait until the routers have them."""

    weights: Weights
    latency_limit: timedelta | None = None
    """Have invocations slower than this counted exactly."""


class Bake(Step, frozen=True, kw_only=True, tag="Bake"):
    """Hold the weights for the duration, then judge the version by the limits."""

    version: VersionNumber
    duration: timedelta
    limits: Limits


class Retire(Step, frozen=True, kw_only=True, tag="Retire"):
    """Stop the version wherever no alias names it and no one keeps it."""

    version: VersionNumber


AnyStep = Start | Shift | Bake | Retire


class Status(StrEnum):
    RUNNING = "Running"
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


class Outcome(StrEnum):
    FAIL = "FAIL"
    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    INSUFFICIENT = "INSUFFICIENT"


class Verdict(Model, frozen=True, kw_only=True):
    """A judgement with all that it rests on."""

    outcome: Outcome
    step: int
    at: datetime
    rule: str
    """The limit that decided, for example `rollbackOnErrorRate`; empty for PASS."""
    text: str
    """For people: `error rate 20.4 % (51 of 250) is over the limit of 5 %`."""
    limit: float | None = None
    value: float | None = None
    invocations: int
    errors: int
    warnings: list[str] = []


class Verb(StrEnum):
    """What a person may ask of a running deployment."""

    ROLLBACK = "rollback"
    ABORT = "abort"
    PROMOTE = "promote"
    """Go on past a hold."""


class Ask(Model, frozen=True, kw_only=True):
    verb: Verb
    who: str
    why: str
    at: datetime


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
    way_back: list[AnyStep]
    stable: VersionNumber | None = None
    """The version that had the traffic before; `None` for the first deployment of an alias."""
    progress: Progress
    created: datetime
    finished: datetime | None = None
    who: str = ""
    reason: str = ""
    """Why it stands as it does, in a sentence, for every status but Running and Succeeded."""
    verdicts: list[Verdict] = []
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
    """started, step, weights, verdict, rollback, held, asked, finished, failed, node."""
    text: str
    figures: dict[str, float] = {}


class Leader(Record, frozen=True, kw_only=True):
    controller: str
    address: str
    """gRPC address of the controller that leads."""
    rest: str = ""
    """Its REST address."""
    since: datetime
