"""What the store needs of a key-value store: ranges, transactions that compare first, watches, leases.

Two implementations keep this contract: `hotswap.etcd` against a real etcd, and `hotswap.memory`, its twin for tests
of everything above. Both pass `tests/contract`.

What a caller may rely on:

- **Revisions** grow by one with each transaction that changed something. An item's `mod_revision` tells when it was
  last written, its `create_revision` when it was created.
- **A transaction** makes all of its writes or none, at one revision. It raises `Conflict` if a requirement does not
  hold. After a lost answer it is read back, and decided by the value of the first key that it puts: so each value
  has to be unique (`Record.write_id`).
- **A watch** begins with one batch that is `whole`: all items under the prefix as they stand, even if there are none.
  Each batch after it holds what changed since, whole revisions only, in order. A lost connection, a restart of the
  store and a compaction are bridged: what was missed comes as a difference, never as a second whole.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import msgspec

from hotswap.errors import Unavailable


class Item(msgspec.Struct, frozen=True, gc=False):
    """Of msgspec, since there may be a hundred thousand in a listing: made at a tenth of a data class's cost."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int = 0
    """Id of the lease that the key lives and dies with; 0 for none."""


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[Item, ...]
    revision: int
    """Of the store as a whole, when it was read."""


class Deleted(msgspec.Struct, frozen=True, gc=False):
    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Batch:
    changes: tuple[Item | Deleted, ...]
    revision: int
    """Everything under the prefix up to this revision is told with this batch."""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """Requires that the key does not exist."""

    key: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Requires that the key was last written at this revision."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Present:
    """Requires that the key is still the one created at this revision (a leader's fence)."""

    key: str
    create_revision: int


@dataclass(frozen=True, slots=True)
class NoneNewer:
    """Requires that nothing under the prefix was written after this revision: not what was read, nor anything new."""

    prefix: str
    revision: int


Requirement = Absent | Unchanged | Present | NoneNewer


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: bytes
    lease: int = 0
    """Id of the lease that the key lives and dies with; 0 for none."""


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


Write = Put | Delete


class KVError(Exception):
    """The key-value store did not do what it was asked."""


class Unreachable(KVError, Unavailable):
    """The store does not answer. Whether a write was made is not known; making it again is safe."""


class Conflict(KVError):
    """A requirement of the transaction does not hold; nothing was written."""


class LeaseLost(KVError):
    """The lease that the write named is gone."""


MAX_OPERATIONS = 128
"""What etcd takes in one transaction: so many requirements, and so many writes."""


def check_transaction(require: Sequence[Requirement], write: Sequence[Write]) -> None:
    """What no store would take is a fault of the program, and is told before anything is sent."""
    if max(len(require), len(write)) > MAX_OPERATIONS:
        raise ValueError(f"a transaction has {MAX_OPERATIONS} requirements and {MAX_OPERATIONS} writes at most")
    if len({one.key for one in write}) < len(write):
        raise ValueError("a transaction writes each key once")


class Lease(Protocol):
    """A lease that is kept alive until it is revoked or lost."""

    @property
    def id(self) -> int: ...

    @property
    def deadline(self) -> float:
        """Monotonic time until which the holder may act, counted from when the last answered keep-alive was sent."""

    async def lost(self) -> None:
        """Returns when the lease is gone or its deadline has passed, whichever is first."""

    async def abandon(self) -> None:
        """Keeps it alive no more: it runs out, and its keys go with it."""

    async def revoke(self) -> None:
        """Ends the lease; its keys go with it. Never raises: a lease that cannot be revoked runs out."""


class KV(Protocol):
    async def get(self, key: str) -> Item | None: ...

    async def range(self, prefix: str) -> Listing: ...

    async def commit(self, *, require: Sequence[Requirement], write: Sequence[Write]) -> int:
        """The revision of the writes. Raises `Conflict`, `Unreachable`, `LeaseLost`."""

    def watch(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """The watch ends with the context; the iterator itself never ends and never raises for a lost connection."""

    async def grant(self, ttl: timedelta) -> Lease:
        """A new lease, kept alive by a task that the store owns."""

    async def close(self) -> None: ...
