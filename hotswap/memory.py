"""The in-memory twin of etcd: the contract of `hotswap.kv` in one process, for tests of everything above it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from hotswap.kv import (
    Absent,
    Batch,
    Conflict,
    Delete,
    Deleted,
    Item,
    LeaseLost,
    Listing,
    NoneNewer,
    Present,
    Put,
    Requirement,
    Unchanged,
    Write,
    check_transaction,
)


@dataclass(eq=False)
class MemoryLease:
    """Lives until it is revoked, or until a test lets it `expire`."""

    id: int
    _kv: "MemoryKV"
    _clock: Callable[[], float]
    _ttl: float
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def deadline(self) -> float:
        return 0.0 if self._gone.is_set() else self._clock() + self._ttl

    async def lost(self) -> None:
        await self._gone.wait()

    async def abandon(self) -> None:
        """Nothing runs out in here; a test lets it `expire`."""

    async def revoke(self) -> None:
        self.expire()

    def expire(self) -> None:
        if not self._gone.is_set():
            self._gone.set()
            self._kv.drop_lease(self.id)


class MemoryKV:
    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._items: dict[str, Item] = {}
        self._leases: dict[int, MemoryLease] = {}
        self._last_lease = 0
        self._revision = 1
        self._watchers: list[tuple[str, asyncio.Queue[Batch]]] = []

    async def get(self, key: str) -> Item | None:
        return self._items.get(key)

    async def range(self, prefix: str) -> Listing:
        return Listing(tuple(self._under(prefix)), self._revision)

    async def commit(self, *, require: Sequence[Requirement], write: Sequence[Write]) -> int:
        check_transaction(require, write)
        for requirement in require:
            if not self._holds(requirement):
                raise Conflict(f"{requirement}")
        for one in write:
            if isinstance(one, Put) and one.lease and one.lease not in self._leases:
                raise LeaseLost(f"lease {one.lease:x} is gone")
        self._write(write)
        return self._revision

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[Batch]]:
        queue: asyncio.Queue[Batch] = asyncio.Queue()
        queue.put_nowait(Batch(tuple(self._under(prefix)), self._revision, whole=True))
        entry = (prefix, queue)
        self._watchers.append(entry)

        async def batches() -> AsyncGenerator[Batch, None]:
            while True:
                yield await queue.get()

        try:
            async with aclosing(batches()) as iterator:
                yield iterator
        finally:
            self._watchers = [other for other in self._watchers if other is not entry]

    async def grant(self, ttl: timedelta) -> MemoryLease:
        self._last_lease += 1
        lease = MemoryLease(self._last_lease, self, self._clock, ttl.total_seconds())
        self._leases[lease.id] = lease
        return lease

    async def close(self) -> None:
        self._watchers.clear()

    def drop_lease(self, lease_id: int) -> None:
        """What etcd does when a lease ends: its keys go, at one revision."""
        self._leases.pop(lease_id, None)
        self._write([Delete(key) for key in self.held_by(lease_id)])

    def held_by(self, lease_id: int) -> list[str]:
        """The keys that go with the lease."""
        return [key for key, item in self._items.items() if item.lease == lease_id]

    def _under(self, prefix: str) -> list[Item]:
        found = [item for key, item in self._items.items() if key.startswith(prefix)]
        return sorted(found, key=lambda item: item.key)

    def _holds(self, requirement: Requirement) -> bool:
        match requirement:
            case NoneNewer(prefix=prefix, revision=revision):
                return all(item.mod_revision <= revision for item in self._under(prefix))
            case _:
                return self._holds_of_key(requirement, self._items.get(requirement.key))

    @staticmethod
    def _holds_of_key(requirement: Absent | Unchanged | Present, item: Item | None) -> bool:
        match requirement:
            case Absent():
                return item is None
            case Unchanged(mod_revision=revision):
                return item is not None and item.mod_revision == revision
            case Present(create_revision=revision):
                return item is not None and item.create_revision == revision

    def _write(self, writes: Sequence[Write]) -> None:
        revision = self._revision + 1
        changes: list[Item | Deleted] = []
        for write in writes:
            before = self._items.get(write.key)
            match write:
                case Put(key=key, value=value, lease=lease):
                    created = before.create_revision if before else revision
                    self._items[key] = item = Item(key, value, created, revision, lease)
                    changes.append(item)
                case Delete(key=key) if before:
                    del self._items[key]
                    changes.append(Deleted(key, revision))
        if changes:
            self._revision = revision
            self._tell(changes)

    def _tell(self, changes: list[Item | Deleted]) -> None:
        for prefix, queue in self._watchers:
            mine = tuple(change for change in changes if change.key.startswith(prefix))
            if mine:
                queue.put_nowait(Batch(mine, self._revision))
