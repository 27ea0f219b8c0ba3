"""On which nodes a version was answered, and failed, put together from what the workers tell when it has errors."""

from collections import defaultdict

from hotswap.metrics import NodeRow
from router.channel import Nodes

MOST = 4_096
"""Versions of which that is remembered; the one that failed last stays longest."""
By = tuple[str, int]
"""Function and version."""


class NodeCounts:
    def __init__(self) -> None:
        self._told: dict[By, dict[str, dict[str, tuple[int, int]]]] = {}
        """By worker, those that have ended included; what failed last at the end."""

    def tell(self, worker: str, told: Nodes) -> None:
        """What a worker, called as no other ever was, has counted until now."""
        by = told.function, told.version
        workers = self._told.pop(by, {})
        self._told[by] = {**workers, worker: told.counts}
        if len(self._told) > MOST:
            del self._told[next(iter(self._told))]

    def of(self, function: str) -> list[NodeRow]:
        return [
            NodeRow(function=function, version=version, node=node, invocations=answers, errors=errors)
            for (name, version), workers in self._told.items()
            if name == function
            for node, (answers, errors) in sorted(_sums(workers).items())
        ]


def _sums(workers: dict[str, dict[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    total: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for counts in workers.values():
        for node, (answers, errors) in counts.items():
            total[node] = total[node][0] + answers, total[node][1] + errors
    return total
