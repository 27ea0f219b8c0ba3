"""A node told from a version: whether it is the place where a version fails, and not the version. Pure.

Where a version is bad it is so on every node, and which of its invocations fail has nothing to do with the node that
they were given to. Then the errors fall to the nodes as a draw from an urn: that all K of them fall to a node that
answered n of N invocations has the chance C(n, K) / C(N, K) (R. A. Fisher's exact test), times the number of nodes,
since any of them might have been the one. Only where that is `MISTAKEN` at most is the node to blame.

The question is asked when the guard has its evidence. That depends on how many failed and not on where, so the chance
is what it says at that time. It is asked again while the answer is open, which it is for as long as there are few
errors and all are from one node, though others answer too. An error from elsewhere ends that: it is the version. With
each of them its chance to be mistaken for a node becomes less, so to ask again adds nothing to it.

What runs on one node alone cannot be told from it: then it is the version.
"""

from dataclasses import dataclass
from math import exp, lgamma

from msgspec import UnsetType

from hotswap.judge.basis import Basis, Sum
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.judge.wording import plural

MISTAKEN = 1e-3
"""The chance that a version which fails everywhere is taken for a node."""
FEW = 6
"""Errors until which it is left open though other nodes have answered hardly anything: where invocations are few, one
node may have nearly all of them, and then it cannot be told."""
LEAST_BESIDE = 0.2
"""Of all invocations, that other nodes must have answered for it to be left open after that."""
MOST_IN_DOUBT = 40
"""Errors until which it may be left open: what has not shown by then is not waited for."""
RULE = "guard:node"


@dataclass(frozen=True, slots=True)
class Suspicion:
    node: str
    mistaken: float
    """The chance that this comes of a version that fails everywhere."""

    @property
    def sure(self) -> bool:
        return self.mistaken <= MISTAKEN


def suspicion(nodes: dict[str, Sum]) -> Suspicion | None:
    """The one of several nodes that all errors are from; `None` where it is the version."""
    failing = [name for name, one in nodes.items() if one.errors]
    if len(failing) != 1 or len(nodes) == 1:
        return None
    there = nodes[failing[0]]
    everywhere = sum(one.invocations for one in nodes.values())
    errors = min(there.errors, there.invocations)  # counts are read while they are written
    chance = len(nodes) * exp(_log_ways(there.invocations, errors) - _log_ways(everywhere, errors))
    found = Suspicion(failing[0], min(chance, 1.0))
    beside = everywhere - there.invocations
    most = MOST_IN_DOUBT if beside >= LEAST_BESIDE * everywhere else FEW
    return found if found.sure or there.errors <= most else None


def _log_ways(invocations: int, errors: int) -> float:
    """ln of in how many orders so many of them may be drawn."""
    return lgamma(invocations + 1) - lgamma(invocations - errors + 1)


def apart(basis: Basis) -> Verdict | None:
    """INSUFFICIENT of the version where a node is to blame; `None` where none is, or that is open."""
    if isinstance(basis.nodes, UnsetType):
        return None
    found = suspicion(basis.nodes)
    if found is None or not found.sure:
        return None
    there = basis.nodes[found.node]
    beside = sum(one.invocations for name, one in basis.nodes.items() if name != found.node)
    return Verdict(
        outcome=Outcome.INSUFFICIENT,
        version=basis.version,
        step=basis.step,
        at=basis.at,
        rule=RULE,
        text=(
            f"the fault is node {found.node}: {there.errors} of {plural(there.invocations)} failed there, "
            f"and none of {beside} on other nodes; of a version that fails everywhere this comes in "
            f"{found.mistaken:.1g} of cases"
        ),
        limit=MISTAKEN,
        value=found.mistaken,
        invocations=basis.tally.invocations,
        errors=basis.tally.errors,
    )
