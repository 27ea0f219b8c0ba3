"""What is said of a version: FAIL, PASS, or that there is too little to say."""

from datetime import datetime
from enum import StrEnum

from hotswap.model import Model, VersionNumber


class Outcome(StrEnum):
    FAIL = "FAIL"
    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    INSUFFICIENT = "INSUFFICIENT"


class Verdict(Model, frozen=True, kw_only=True):
    """A judgement with all that it rests on."""

    outcome: Outcome
    version: VersionNumber | None = None
    """Which one was judged."""
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
    shared: bool = False
    """The stable version beside it broke the limit too, and not less: the fault is one that both share."""
