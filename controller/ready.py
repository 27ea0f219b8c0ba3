"""What serves: the instances that are ready, on the nodes as they stand now."""

from collections import Counter
from collections.abc import Iterable

from hotswap.model import Endpoint, Node
from hotswap.store import Stored


def ready(endpoints: Iterable[Stored[Endpoint]], nodes: Iterable[Stored[Node]]) -> Counter[str]:
    """Of each node that is there, how many of the instances are ready.

    An agent announces its node and its endpoints under one lease. What stands under another was announced by an agent
    that is dead, or has lost its lease: whether that instance still runs, the node has yet to say.
    """
    leases = {stored.value.name: stored.lease for stored in nodes}
    return Counter(
        stored.value.node
        for stored in endpoints
        if not stored.value.withdrawn and leases.get(stored.value.node) == stored.lease
    )
