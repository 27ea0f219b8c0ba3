"""Keeps the last known endpoints of a version when they vanish all at once, for a limited time.

The problem: endpoints live under their agents' leases. An etcd that loses its leases, agents that are cut off from it,
or a list that comes back short take away endpoints whose instances run and serve as before. A router that believed it
would turn a fault of the control plane into an outage.

What it must not stop is a withdrawal that is meant, or drains would never end. The two look different:

- An agent withdraws an endpoint in a transaction of its own, so it is gone at a revision of its own. A lease that ends
  takes all its endpoints at one revision, and a short list misses all of them at its revision.
- A version is withdrawn after the weights were taken from it, and one that stays is replaced before it goes.

So endpoints are kept only if, at one revision, at least two and more than half of a function's endpoints vanish, and of
them only those of a version to which an alias gives weight and which would be left with none. Everything else takes
effect at once. What is kept is let go when its time is over, when its weight is gone, or when it is announced again.
A kept endpoint that is really dead costs little: a failed connect goes to another endpoint, and it is soon ejected.
"""

from collections import defaultdict
from collections.abc import Iterable

from router.table import EndpointEntry, FunctionTable, Removed, Table

KEEP_SECONDS = 60.0
"""Some leases' worth: an agent that can reach etcd again announces its endpoints within seconds."""
FEWEST = 2
"""One endpoint that goes is a withdrawal."""


class Protection:
    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[Removed, float]] = {}
        """By function and name: what was held back, and until when."""

    @property
    def kept(self) -> int:
        return len(self._kept)

    def removals(self, table: Table, removed: Iterable[Removed], *, now: float) -> list[Removed]:
        """Of the endpoints' removals those that take effect; the others are held back."""
        bursts: defaultdict[tuple[str, int], list[Removed]] = defaultdict(list)
        for one in removed:
            bursts[one.function, one.revision].append(one)
        effective: list[Removed] = []
        for (name, _), burst in bursts.items():
            function = table.functions.get(name)
            held = _suspect(function, burst) if function else set()
            for one in burst:
                if one.name in held:
                    self._kept[name, one.name] = (one, now + KEEP_SECONDS)
                else:
                    effective.append(one)
        return effective

    def announced(self, endpoints: Iterable[EndpointEntry]) -> None:
        """An endpoint that is there (again) is not kept any more: it lives."""
        for entry in endpoints:
            self._kept.pop((entry.function, endpoint_name(entry)), None)

    def due(self, table: Table, *, now: float) -> list[Removed]:
        """What was held back and takes effect now."""
        due = [
            one
            for one, until in self._kept.values()
            if now >= until or not _has_weight(table.functions.get(one.function), one)
        ]
        for one in due:
            del self._kept[one.function, one.name]
        return due


def endpoint_name(entry: EndpointEntry) -> str:
    """As it stands in `Removed.name`."""
    return f"{entry.version}/{entry.instance}"


def _suspect(function: FunctionTable, burst: list[Removed]) -> set[str]:
    names = {one.name for one in burst}
    present = [entry for some in function.endpoints.values() for entry in some.values()]
    vanishing = [entry for entry in present if endpoint_name(entry) in names]
    if len(vanishing) < FEWEST or len(vanishing) * 2 <= len(present):
        return set()
    left = {entry.version for entry in present if endpoint_name(entry) not in names}
    bereft = function.weighted - left
    return {endpoint_name(entry) for entry in vanishing if entry.version in bereft}


def _has_weight(function: FunctionTable | None, one: Removed) -> bool:
    return function is not None and int(one.name.partition("/")[0]) in function.weighted
