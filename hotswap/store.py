"""The model in the key-value store: the only place that knows keys.

A `Collection` is one noun under its own prefix. It reads, lists and watches typed values. All writing goes
through a `Transaction`, which compares before it writes: creating requires that the key is absent, changing and
deleting require the value that was read. A leader's transactions carry its fence too, so that a controller that lost
its lead cannot write, however late its message arrives.

Not here: what a write means and who may make it; that is `controller`'s and `agent`'s.
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import msgspec

from hotswap import errors, kv
from hotswap.answer import KeptAnswer
from hotswap.auth import Token
from hotswap.deployment import Active, Deployment, Event, Leader, Quarantine
from hotswap.hook import Deliveries, Hook, Undelivered
from hotswap.model import (
    Alias,
    Assignment,
    Claim,
    Endpoint,
    Function,
    Node,
    Record,
    Removal,
    Router,
    Sweep,
    Version,
    decode,
)
from hotswap.notice import Notice
from hotswap.outcomes import KeptOutcomes

ROOT = "/hotswap/"
SEQUENCE_DIGITS = 9
"""Event numbers are padded to this, so that keys sort as numbers do."""

R = TypeVar("R", bound=Record)
Path = tuple[str | int, ...]


class Stored(msgspec.Struct, Generic[R], frozen=True, gc=False):
    """A value with what a later write has to compare."""

    value: R
    key: str
    create_revision: int
    mod_revision: int
    lease: int = 0
    """As the store numbers them; 0 for none."""


class Gone(msgspec.Struct, frozen=True):
    """A key that was deleted; `parts` are what followed the prefix of its collection."""

    parts: tuple[str, ...]
    mod_revision: int


class Broken(msgspec.Struct, frozen=True):
    """A value that does not parse: a foreign hand, or another release. What was known before it still holds."""

    parts: tuple[str, ...]
    mod_revision: int
    error: str


@dataclass(frozen=True, slots=True)
class Changes(Generic[R]):
    """What a watch tells at a time; `whole` when it is everything there is, and all else is gone."""

    changes: tuple["Stored[R] | Gone | Broken", ...]
    revision: int
    whole: bool


class Collection(Generic[R]):
    """One noun; `path` gives what follows its prefix in the key of a value."""

    def __init__(self, store: kv.KV, name: str, kind: type[R], path: Callable[[R], Path]) -> None:
        self._kv = store
        self._prefix = f"{ROOT}{name}/"
        self._kind = kind
        self._path = path

    def key(self, *parts: str | int) -> str:
        return self._prefix + "/".join(map(str, parts))

    def key_of(self, value: R) -> str:
        return self.key(*self._path(value))

    def path_of(self, value: R) -> Path:
        return self._path(value)

    async def get(self, *parts: str | int) -> Stored[R] | None:
        item = await self._kv.get(self.key(*parts))
        return self._read(item) if item else None

    async def list(self, *parts: str | int) -> list[Stored[R]]:
        """All of the collection, or those whose key begins with these whole parts."""
        listing = await self._kv.range(self.folder(parts))
        return [self._read(item) for item in listing.items]

    @asynccontextmanager
    async def watch(self, *parts: str | int) -> AsyncIterator[AsyncIterator[Changes[R]]]:
        async with self._kv.watch(self.folder(parts)) as batches, aclosing(self._typed(batches)) as changes:
            yield changes

    async def _typed(self, batches: AsyncIterator[kv.Batch]) -> AsyncGenerator[Changes[R], None]:
        async for batch in batches:
            yield Changes(tuple(self._change(change) for change in batch.changes), batch.revision, batch.whole)

    def _change(self, change: kv.Item | kv.Deleted) -> Stored[R] | Gone | Broken:
        if isinstance(change, kv.Deleted):
            return Gone(self._parts(change.key), change.mod_revision)
        try:
            return self._read(change)
        except errors.Invalid as error:
            return Broken(self._parts(change.key), change.mod_revision, str(error))

    def folder(self, parts: Path) -> str:
        return self.key(*parts) + "/" if parts else self._prefix

    def _parts(self, key: str) -> tuple[str, ...]:
        return tuple(key.removeprefix(self._prefix).split("/"))

    def _read(self, item: kv.Item) -> Stored[R]:
        value = decode(item.value, self._kind, where=item.key)
        return Stored(value, item.key, item.create_revision, item.mod_revision, item.lease)


@dataclass(frozen=True, slots=True)
class Fence:
    """A leader's proof: its key, and the revision at which it was created."""

    key: str
    create_revision: int


class Transaction:
    """Writes that are made together or not at all; see `Store.transaction`."""

    def __init__(self, store: "Store", fence: Fence | None) -> None:
        self._store = store
        self._fence = fence
        self._require: list[kv.Requirement] = []
        self._write: list[kv.Write] = []
        if fence:
            self._require.append(kv.Present(fence.key, fence.create_revision))

    def create(self, value: Record, *, lease: int = 0) -> Self:
        key = self._store.key_of(value)
        self._require.append(kv.Absent(key))
        self._write.append(self._put(key, value, lease))
        return self

    def replace(self, stored: Stored[R], value: R, *, lease: int = 0) -> Self:
        self._require.append(kv.Unchanged(stored.key, stored.mod_revision))
        self._write.append(self._put(stored.key, value, lease))
        return self

    def put(self, value: R, *, over: Stored[R] | None, lease: int = 0) -> Self:
        """Create where nothing was read, else replace what was read."""
        return self.replace(over, value, lease=lease) if over else self.create(value, lease=lease)

    def announce(self, value: Record, *, lease: int) -> Self:
        """Write over whatever is there: only for a key that has one writer by its name, under that writer's lease."""
        self._write.append(self._put(self._store.key_of(value), value, lease))
        return self

    def withdraw(self, value: Record) -> Self:
        """The opposite of `announce`."""
        self._write.append(kv.Delete(self._store.key_of(value)))
        return self

    def delete(self, stored: Stored[R]) -> Self:
        self._require.append(kv.Unchanged(stored.key, stored.mod_revision))
        self._write.append(kv.Delete(stored.key))
        return self

    def require(self, stored: Stored[R]) -> Self:
        """What was read must still stand, though it is not written."""
        self._require.append(kv.Unchanged(stored.key, stored.mod_revision))
        return self

    def require_none_newer(self, kind: type[Record], *parts: str | int, revision: int) -> Self:
        """Nothing of the kind, or in its folder, may have been written since that revision."""
        self._require.append(kv.NoneNewer(self._store.collection(kind).folder(parts), revision))
        return self

    def require_absent(self, kind: type[Record], *parts: str | int) -> Self:
        self._require.append(kv.Absent(self._store.collection(kind).key(*parts)))
        return self

    async def commit(self) -> int:
        """The revision of the writes.

        Raises `errors.NotLeader` when the fence does not hold, `errors.Conflict` when something else changed,
        `kv.Unreachable` when the store does not answer, `kv.LeaseLost` when the lease is gone.
        """
        try:
            return await self._store.kv.commit(require=self._require, write=self._write)
        except kv.Conflict as error:
            if self._fence and not await self._store.holds(self._fence):
                raise errors.NotLeader("this controller does not lead any more") from error
            raise errors.Conflict("it was changed by somebody else in the meantime", hint="try again") from error

    @staticmethod
    def _put(key: str, value: Record, lease: int) -> kv.Put:
        stamped = msgspec.structs.replace(value, write_id=secrets.token_hex(8))
        return kv.Put(key, msgspec.json.encode(stamped), lease)


class Store:
    def __init__(self, store: kv.KV) -> None:
        self.kv = store
        self._collections: dict[type[Record], Collection[Any]] = {}
        self.functions = self._add("functions", Function, lambda it: (it.name,))
        self.versions = self._add("versions", Version, lambda it: (it.function, it.number))
        self.aliases = self._add("aliases", Alias, lambda it: (it.function, it.name))
        self.nodes = self._add("nodes", Node, lambda it: (it.name,))
        self.claims = self._add("claims", Claim, lambda it: (it.node,))
        self.assignments = self._add("assignments", Assignment, lambda it: (it.node, it.function))
        self.removals = self._add("removals", Removal, lambda it: (it.function,))
        self.sweeps = self._add("sweeps", Sweep, lambda _: (Sweep.SUBJECT,))
        self.endpoints = self._add("endpoints", Endpoint, lambda it: (it.function, it.version, it.instance))
        self.routers = self._add("routers", Router, lambda it: (it.name,))
        self.deployments = self._add("deployments", Deployment, lambda it: (it.id,))
        self.active = self._add("active", Active, lambda it: (it.function, it.alias))
        self.events = self._add("events", Event, lambda it: (it.deployment, f"{it.number:0{SEQUENCE_DIGITS}}"))
        self.outbox = self._add("outbox", Notice, lambda it: (it.deployment, f"{it.number:0{SEQUENCE_DIGITS}}"))
        self.quarantine = self._add("quarantine", Quarantine, lambda it: (it.function, it.version))
        self.tokens = self._add("tokens", Token, lambda it: (it.id,))
        self.hooks = self._add("hooks", Hook, lambda it: (it.name,))
        self.deliveries = self._add("deliveries", Deliveries, lambda it: (it.hook,))
        self.undelivered = self._add("undelivered", Undelivered, lambda it: (it.hook, *self.outbox.path_of(it.notice)))
        self.outcomes = self._add("outcomes", KeptOutcomes, lambda it: (it.function, it.alias, it.revision, it.shard))
        self.answers = self._add("answers", KeptAnswer, lambda it: (it.id,))
        self.leader = self._add("leader", Leader, lambda _: ("controller",))

    def transaction(self, fence: Fence | None = None) -> Transaction:
        return Transaction(self, fence)

    def collection(self, kind: type[R]) -> Collection[R]:
        return self._collections[kind]

    def key_of(self, value: Record) -> str:
        return self._collections[type(value)].key_of(value)

    async def holds(self, fence: Fence) -> bool:
        item = await self.kv.get(fence.key)
        return item is not None and item.create_revision == fence.create_revision

    def _add(self, name: str, kind: type[R], path: Callable[[R], Path]) -> Collection[R]:
        collection = self._collections[kind] = Collection(self.kv, name, kind, path)
        return collection
