"""The one way in which a deployment is written: the record, the events that tell of its change and, when its status
changed, the notice of that. In one transaction, so that none of them is ever there without the others.
"""

from hotswap import notice
from hotswap.deployment import Deployment, Event
from hotswap.store import Stored, Transaction


def put(
    transaction: Transaction, before: Stored[Deployment] | None, after: Deployment, events: list[Event]
) -> Transaction:
    """Adds to what the transaction writes. `before` is what was read; `None` creates the deployment."""
    transaction.put(after, over=before)
    for event in events:
        transaction.create(event)
    status = before.value.status if before else None
    if status is not after.status:  # which never changes without an event
        transaction.create(notice.of(status, after, events[-1].at))
    return transaction
