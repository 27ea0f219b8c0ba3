"""The one store of a world, and the one place where every write is seen: by the history and by the invariants."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from hotswap import kv
from hotswap.deployment import Active, Deployment, Event, Leader
from hotswap.memory import MemoryKV, MemoryLease
from hotswap.model import Alias, Assignment, Endpoint, Function, Node, Record, Router, Version, decode
from hotswap.store import ROOT

KINDS: dict[str, type[Record]] = {
    "functions": Function,
    "versions": Version,
    "aliases": Alias,
    "nodes": Node,
    "assignments": Assignment,
    "endpoints": Endpoint,
    "routers": Router,
    "deployments": Deployment,
    "active": Active,
    "events": Event,
    "leader": Leader,
}

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes, and as what."""

    name: str
    role: str
    """leader, candidate, person, foreign, agent, router or store."""
    fence: int = 0
    """Of a leader: the revision at which its lead began."""


@dataclass(frozen=True, slots=True)
class Change:
    key: str
    before: Record | None
    after: Record | None


@dataclass(frozen=True, slots=True)
class Written:
    """One revision."""

    revision: int
    author: Author
    changes: tuple[Change, ...]

    def of(self, kind: type[R]) -> list[tuple[R | None, R | None]]:
        """The values of that kind that were changed: as they were, as they are."""
        return [
            (one.before if isinstance(one.before, kind) else None, one.after if isinstance(one.after, kind) else None)
            for one in self.changes
            if isinstance(one.before or one.after, kind)
        ]


@dataclass
class Picture:
    """All that stands in the store."""

    values: dict[str, Record] = field(default_factory=dict)
    created: dict[str, int] = field(default_factory=dict)
    """key -> revision at which it was created"""

    def all(self, kind: type[R]) -> list[R]:
        return [value for value in self.values.values() if isinstance(value, kind)]

    def get(self, kind: type[R], *parts: str | int) -> R | None:
        value = self.values.get(f"{ROOT}{_NAMES[kind]}/{'/'.join(map(str, parts))}")
        return value if isinstance(value, kind) else None


_NAMES = {kind: name for name, kind in KINDS.items()}

Observer = Callable[[Written], None]


class Cluster:
    def __init__(self, *, time: Callable[[], float]) -> None:
        self.kv = MemoryKV(clock=time)
        self.picture = Picture()
        self.observers: list[Observer] = []
        self._revision = 1

    async def commit(self, author: Author, require: Sequence[kv.Requirement], write: Sequence[kv.Write]) -> int:
        revision = await self.kv.commit(require=require, write=write)
        self._tell(revision, author, {one.key: one.value if isinstance(one, kv.Put) else None for one in write})
        return revision

    async def grant(self, ttl: timedelta) -> MemoryLease:
        return await self.kv.grant(ttl)

    def expire(self, lease: MemoryLease, owner: str) -> None:
        """Its keys go."""
        keys = self.kv.held_by(lease.id)
        lease.expire()
        if keys:
            self._tell(self._revision + 1, Author(owner, "store"), dict.fromkeys(keys))

    def _tell(self, revision: int, author: Author, values: Mapping[str, bytes | None]) -> None:
        if revision == self._revision:
            return
        self._revision = revision
        changes = tuple(
            self._changed(key, KINDS[kind], value) for key, value in values.items() if (kind := _kind(key)) in KINDS
        )
        written = Written(revision, author, changes)
        for observer in self.observers:
            observer(written)

    def _changed(self, key: str, kind: type[Record], value: bytes | None) -> Change:
        before = self.picture.values.pop(key, None)
        if value is None:
            self.picture.created.pop(key, None)
            return Change(key, before, None)
        after = self.picture.values[key] = decode(value, kind, where=key)
        self.picture.created.setdefault(key, self._revision)
        return Change(key, before, after)


def _kind(key: str) -> str:
    return key.removeprefix(ROOT).partition("/")[0]
