"""What is told to the outside when the status of a deployment changes.

A notice is written with the change itself, so that there is neither without the other, and stands in the outbox until
it needs to be told no more.
"""

from datetime import datetime

from hotswap.deployment import Deployment, Status
from hotswap.model import FunctionName, Record, VersionNumber


class Notice(Record, frozen=True, kw_only=True):
    """One change of status of one deployment."""

    deployment: str
    number: int
    """Of the last event of the change: it grows from one change of a deployment to its next."""
    function: FunctionName
    alias: str
    version: VersionNumber
    previous_status: Status | None
    """`None` when the deployment begins."""
    status: Status
    reason: str
    at: datetime
    done: list[str] = []
    """Hooks that have it, or to which it could not be delivered."""

    @property
    def id(self) -> str:
        """The same each time that the notice is delivered, so that a receiver can tell that it has it already."""
        return f"{self.deployment}/{self.number}"


def of(before: Status | None, after: Deployment, at: datetime) -> Notice:
    """What there is to tell of a deployment that had the status `before`."""
    return Notice(
        deployment=after.id,
        number=after.events,
        function=after.function,
        alias=after.alias,
        version=after.version,
        previous_status=before,
        status=after.status,
        reason=after.reason,
        at=at,
    )
