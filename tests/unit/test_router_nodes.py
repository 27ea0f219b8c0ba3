"""On which nodes a version was answered: as a worker counts it, and as its parent puts it together."""

import random

from hotswap.settings import RouterLimits
from router.channel import Nodes
from router.endpoints import Endpoints, Shared
from router.nodes import MOST, NodeCounts
from router.table import EndpointEntry
from router.wire import Poll


def entry(node: str) -> EndpointEntry:
    return EndpointEntry(
        function="fn", version=1, instance=f"i-{node}", revision=1, address="127.0.0.1:9", concurrency=4, node=node
    )


def endpoints(*nodes: str) -> tuple[Endpoints, list[Endpoints]]:
    """And what was told of errors."""
    erring: list[Endpoints] = []
    shared = Shared(
        Poll(), workers=1, rng=random.Random(1), clock=lambda: 0.0, limits=RouterLimits(), erred=erring.append
    )
    made = Endpoints(shared, "fn", 1)
    made.replace([entry(node) for node in nodes])
    return made, erring


def test_answers_errors_and_failures_are_counted_by_node_and_only_errors_are_told() -> None:
    made, erring = endpoints("n1")
    load = made.take(0.0)
    assert load
    made.done(load, 0.0, latency=0.01)
    assert made.take(0.0) is load
    made.done(load, 0.0, latency=0.01)
    assert (made.by_node(), erring) == ({"n1": (2, 0)}, [])
    made.erred(load)  # by what it has answered
    assert made.take(0.0) is load
    made.failed(load, 0.0)
    assert (made.by_node(), erring) == ({"n1": (3, 2)}, [made, made])


def test_a_node_that_has_answered_nothing_is_told_of_too() -> None:
    assert endpoints("n1", "n2")[0].by_node() == {"n1": (0, 0), "n2": (0, 0)}


def test_what_endpoints_answered_that_are_gone_counts_on() -> None:
    made, _ = endpoints("n1")
    load = made.take(0.0)
    assert load
    made.done(load, 0.0, latency=0.01)
    made.replace([entry("n2")])
    assert made.by_node() == {"n1": (1, 0), "n2": (0, 0)}
    made.replace([entry("n1")])
    assert made.by_node() == {"n1": (1, 0), "n2": (0, 0)}


def test_what_workers_tell_last_is_summed_those_that_have_ended_included() -> None:
    counts = NodeCounts()
    counts.tell("a", Nodes("fn", 1, {"n1": (5, 1)}))
    counts.tell("a", Nodes("fn", 1, {"n1": (9, 2)}))
    counts.tell("b", Nodes("fn", 1, {"n1": (1, 0), "n2": (4, 4)}))
    counts.tell("b", Nodes("other", 1, {"n1": (7, 7)}))
    assert [(it.version, it.node, it.invocations, it.errors) for it in counts.of("fn")] == [
        (1, "n1", 10, 2),
        (1, "n2", 4, 4),
    ]


def test_what_is_remembered_has_a_bound() -> None:
    counts = NodeCounts()
    for number in range(MOST + 1):
        counts.tell("a", Nodes(f"fn-{number}", 1, {"n1": (1, 1)}))
    assert counts.of("fn-0") == []
    assert len(counts.of(f"fn-{MOST}")) == 1
