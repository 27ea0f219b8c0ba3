"""What the node announces in the store: itself, and the endpoints of its ready instances, all under one lease.

Announcing is a reconciler of its own. Callers say what should stand there; one task writes it, in order and many at a
time, and begins again with a new lease when the old one is lost. So an agent whose store is away for minutes announces
everything again when it is back, and an endpoint that was withdrawn meanwhile does not come back.

A write may come late: of an agent that was killed, or sent twice, when an endpoint is long deleted or announced anew.
It would stand under a lease that ends with the dead, or for an instance that is no more. So every write requires the
node's claim as the one before has left it, and writes that anew: what comes late finds another one.

An endpoint that is withdrawn is told to be so before it is deleted: routers tell by this that it ends, and has not
merely lost its agent.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta

from msgspec.structs import replace

from hotswap.errors import Conflict
from hotswap.kv import Lease, LeaseLost, Unreachable
from hotswap.model import Claim, Endpoint, Record
from hotswap.store import Store, Stored, Transaction

log = logging.getLogger(__name__)

TTL = timedelta(seconds=10)
RETRY = 0.5
"""Seconds before the store is tried again."""
WRITES = 64
"""In one transaction; etcd takes 128."""


@dataclass(eq=False, slots=True)
class _Change:
    record: Record
    announced: bool
    """False: withdrawn."""
    done: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Announcer:
    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self._claim = Stored(Claim(node=node), store.claims.key(node), 0, 0)
        """As it was last written."""
        self._standing: dict[str, Record] = {}
        self._changes: dict[str, _Change] = {}
        self._changed = asyncio.Event()
        self._lease: Lease | None = None
        self._doubtful: list[Lease] = []
        """Those before it, under which writes may be on their way that had no answer: revoked when all stands under a
        new one, so that nothing comes late and stays. Then all is written once more."""

    def announce(self, record: Record) -> asyncio.Future[int]:
        """The revision at which it was written; cancelled when it is withdrawn before that."""
        self._standing[self._store.key_of(record)] = record
        return self._change(_Change(record, announced=True))

    def withdraw(self, record: Record) -> asyncio.Future[int]:
        """The revision at which it was deleted; 0 when the announcer gave up."""
        self._standing.pop(self._store.key_of(record), None)
        return self._change(_Change(record, announced=False))

    def withdraw_all(self) -> None:
        for record in list(self._standing.values()):
            self.withdraw(record)

    def give_up(self) -> None:
        """Lets all go on who wait: the store is away, and the agent ends."""
        for change in self._changes.values():
            if not change.done.done():
                change.done.set_result(0)

    async def run(self) -> None:
        """Until it is cancelled; the lease then runs out, unless it is revoked by `close`."""
        while True:
            try:
                before, self._lease = self._lease, await self._store.kv.grant(TTL)
                self._doubtful += [before] if before else []
                self._again()
                self._claimed(
                    await self._store.transaction().announce(self._claim.value, lease=self._lease.id).commit()
                )
                await self._keep(self._lease)
            except Conflict:
                log.warning("a late write has come between; announcing all with a new lease")
            except (Unreachable, LeaseLost) as error:
                log.warning("cannot announce: %s; trying again", error)
                await asyncio.sleep(RETRY)

    async def close(self) -> None:
        """Ends the lease, and with it all that still stands."""
        if self._lease:
            await self._lease.revoke()

    def _again(self) -> None:
        """All that stands, but for what is written anyway."""
        for record in list(self._standing.values()):
            if self._store.key_of(record) not in self._changes:
                self._change(_Change(record, announced=True))

    async def _keep(self, lease: Lease) -> None:
        """Writes changes until the lease is lost."""
        lost = asyncio.create_task(lease.lost(), name="lease-lost")
        try:
            while not lost.done():
                if self._changes:
                    await self._write(lease)
                    continue
                if self._doubtful:
                    await self._doubtful.pop().revoke()
                    self._again()  # a write that came late may have drawn a key under the lease that has ended
                    continue
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait(), name="announcements-changed")
                try:
                    await asyncio.wait([lost, changed], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
        finally:
            lost.cancel()
        log.warning("the lease of the node is lost; announcing all with a new one")

    async def _write(self, lease: Lease) -> None:
        batch = dict(list(self._changes.items())[:WRITES])
        withdrawn = [change.record for change in batch.values() if not change.announced]
        telling = self._transaction(lease)
        for change in batch.values():
            if change.announced:
                telling.announce(change.record, lease=lease.id)
            elif isinstance(change.record, Endpoint):
                telling.announce(replace(change.record, withdrawn=True), lease=lease.id)
        revision = self._claimed(await telling.commit())
        if withdrawn:
            deleting = self._transaction(lease)
            for record in withdrawn:
                deleting.withdraw(record)
            revision = self._claimed(await deleting.commit())
        for key, change in batch.items():
            if self._changes.get(key) is change:
                del self._changes[key]
            if not change.done.done():
                change.done.set_result(revision)

    def _transaction(self, lease: Lease) -> Transaction:
        return self._store.transaction().replace(self._claim, self._claim.value, lease=lease.id)

    def _claimed(self, revision: int) -> int:
        self._claim = Stored(self._claim.value, self._claim.key, 0, revision)
        return revision

    def _change(self, change: _Change) -> asyncio.Future[int]:
        key = self._store.key_of(change.record)
        if superseded := self._changes.pop(key, None):
            superseded.done.cancel()
        self._changes[key] = change
        self._changed.set()
        return change.done
