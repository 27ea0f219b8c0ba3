"""Keeps the endpoints that vanish without being withdrawn, for a limited time.

The problem: endpoints live under their agents' leases. An agent that is killed or cut off from etcd, or an etcd that
loses its leases, takes away endpoints whose instances run and serve as before. A router that believed it would turn
a fault of the control plane into an outage.

What it must not stop is a withdrawal that is meant, or drains would never end. So an agent says that it withdraws an
endpoint before it deletes it. One that is deleted without that word has only lost its agent: it is kept, if an alias
gives weight to its version. A list that misses an endpoint does not tell what became of it, perhaps long ago; so it is
kept only if its version would be left with none.

What is kept is let go when its time is over, when its weight is gone, or when something else is announced at its
address; and it is an endpoint like others when it is announced again. One that is really dead costs little: a failed
connect goes to another endpoint, and it is soon ejected.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from router.table import EndpointEntry, Removed, Table

KEEP_SECONDS = 60.0
"""Some leases' worth: an agent that can reach etcd again announces its endpoints within seconds."""


Name = tuple[str, str]
"""Function, and version/instance."""


@dataclass(frozen=True, slots=True)
class _Kept:
    removed: Removed
    address: str
    until: float


class Protection:
    def __init__(self) -> None:
        self._kept: dict[Name, _Kept] = {}

    @property
    def kept(self) -> int:
        return len(self._kept)

    def removals(self, table: Table, removed: Iterable[Removed], *, listed: bool, now: float) -> list[Removed]:
        """Of the endpoints' removals those that take effect; the others are held back. `listed`: a list missed them."""
        gone = {(one.function, one.name): one for one in removed}
        missed = gone.keys() if listed else frozenset[Name]()
        effective: list[Removed] = []
        for name, one in gone.items():
            if entry := _to_keep(table, one, missed):
                self._kept[name] = _Kept(one, entry.address, now + KEEP_SECONDS)
            else:
                self._kept.pop(name, None)
                effective.append(one)
        return effective

    def announced(self, endpoints: Iterable[EndpointEntry]) -> list[Removed]:
        """What is there (again) is not kept any more: it lives. What had its address before does not, and goes now."""
        over: list[Removed] = []
        if not self._kept:
            return over
        for entry in endpoints:
            self._kept.pop((entry.function, endpoint_name(entry)), None)
            for name in [name for name, kept in self._kept.items() if kept.address == entry.address]:
                over.append(self._kept.pop(name).removed)
        return over

    def due(self, table: Table, *, now: float) -> list[Removed]:
        """What was held back and takes effect now."""
        over = [name for name, kept in self._kept.items() if now >= kept.until or not _has_weight(table, kept.removed)]
        return [self._kept.pop(name).removed for name in over]


def endpoint_name(entry: EndpointEntry) -> str:
    """As it stands in `Removed.name`."""
    return f"{entry.version}/{entry.instance}"


def _to_keep(table: Table, one: Removed, missed: Set[Name]) -> EndpointEntry | None:
    """The endpoint, if it is to be used on."""
    if one.withdrawn or not _has_weight(table, one):
        return None
    version, _, instance = one.name.partition("/")
    siblings = table.functions[one.function].endpoints.get(int(version), {})
    if missed and any((one.function, endpoint_name(entry)) not in missed for entry in siblings.values()):
        return None
    return siblings.get(instance)


def _has_weight(table: Table, one: Removed) -> bool:
    function = table.functions.get(one.function)
    return function is not None and int(one.name.partition("/")[0]) in function.weighted
