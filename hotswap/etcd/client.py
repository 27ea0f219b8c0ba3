"""The contract of `hotswap.kv`, kept by a real etcd."""

import logging
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from hotswap import kv
from hotswap.etcd import faults
from hotswap.etcd.auth import Login
from hotswap.etcd.calls import Calls
from hotswap.etcd.connection import Members, credentials
from hotswap.etcd.keys import after, end_of, item
from hotswap.etcd.lease import EtcdLease
from hotswap.etcd.watch import PROGRESS_INTERVAL, Watch
from hotswap.etcd.wire.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    KeyValue,
    LeaseGrantRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from hotswap.settings import EtcdSettings

log = logging.getLogger(__name__)

PAGE = 5_000
"""Keys that one answer to a range may have."""


class EtcdKV:
    def __init__(self, settings: EtcdSettings, *, progress_interval: float = PROGRESS_INTERVAL) -> None:
        """Connects when it is first asked for something."""
        secure = credentials(settings)
        self._login = Login(settings)
        self._members = Members(settings.endpoints, secure)
        self._watch_members = Members(settings.endpoints, secure)
        """Watches have connections of their own, so that a flood of events holds up no call."""
        self._calls = Calls(self._members, self._login)
        self._leases: list[EtcdLease] = []
        self._progress_interval = progress_interval

    async def get(self, key: str) -> kv.Item | None:
        answer = await self._calls.repeatable(lambda to: to.kv.Range, RangeRequest(key=key.encode()))
        return item(answer.kvs[0]) if answer.kvs else None

    async def range(self, prefix: str) -> kv.Listing:
        while True:
            try:
                return await self._range(prefix)
            except faults.Compacted:
                log.info("the range of %s is read again: its revision was compacted between two pages", prefix)

    async def commit(self, *, require: Sequence[kv.Requirement], write: Sequence[kv.Write]) -> int:
        kv.check_transaction(require, write)
        request = TxnRequest(compare=map(_compare, require), success=map(_operation, write))
        try:
            answer = await self._calls.once(lambda to: to.kv.Txn, request)
        except faults.Ambiguous as error:
            return await self._read_back(write, error)
        if not answer.succeeded:
            raise kv.Conflict(f"one of these does not hold: {', '.join(map(str, require))}")
        return answer.header.revision

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[kv.Batch]]:
        watch = Watch(
            prefix,
            range_=self.range,
            members=self._watch_members,
            login=self._login,
            interval=self._progress_interval,
        )
        async with aclosing(watch.batches()) as batches:
            yield batches

    async def grant(self, ttl: timedelta) -> EtcdLease:
        sent = time.monotonic()
        request = LeaseGrantRequest(TTL=math.ceil(ttl.total_seconds()))
        answer = await self._calls.repeatable(lambda to: to.lease.LeaseGrant, request)
        lease = EtcdLease(answer.ID, answer.TTL, sent=sent, members=self._members, login=self._login, calls=self._calls)
        self._leases = [other for other in self._leases if other.deadline] + [lease]
        return lease

    async def close(self) -> None:
        """Leases that were not revoked run out."""
        for lease in self._leases:
            await lease.abandon()
        await self._members.close()
        await self._watch_members.close()

    async def _range(self, prefix: str) -> kv.Listing:
        """In pages, all at the revision of the first; raises `Compacted` when that is not kept for long enough."""
        found: list[KeyValue] = []
        start, end, revision, more = prefix.encode() or b"\0", end_of(prefix), 0, True
        while more:
            request = RangeRequest(key=start, range_end=end, limit=PAGE, revision=revision)
            answer = await self._calls.repeatable(lambda to: to.kv.Range, request)
            found += answer.kvs
            revision, more = revision or answer.header.revision, answer.more
            start = after(found[-1].key) if more else start
        return kv.Listing(tuple(map(item, found)), revision)

    async def _read_back(self, write: Sequence[kv.Write], ambiguous: faults.Ambiguous) -> int:
        """Whether a transaction whose answer was lost was made: if its first value stands there, which is unique."""
        put = next((one for one in write if isinstance(one, kv.Put)), None)
        if put and (there := await self.get(put.key)) and there.value == put.value:
            return there.mod_revision
        raise kv.Unreachable(f"{ambiguous.message}; whether the write was made is not known") from ambiguous


def connect(settings: EtcdSettings) -> EtcdKV:
    """A client for the cluster; raises `errors.Invalid` when its certificates cannot be read. Close it at the end."""
    return EtcdKV(settings)


def _compare(requirement: kv.Requirement) -> Compare:
    match requirement:
        case kv.Absent(key=key):
            return Compare(target=Compare.CREATE, key=key.encode(), create_revision=0)
        case kv.Present(key=key, create_revision=revision):
            return Compare(target=Compare.CREATE, key=key.encode(), create_revision=revision)
        case kv.Unchanged(key=key, mod_revision=revision):
            return Compare(target=Compare.MOD, key=key.encode(), mod_revision=revision)
        case kv.NoneNewer(prefix=prefix, revision=revision):
            return Compare(
                target=Compare.MOD,
                result=Compare.LESS,
                key=prefix.encode(),
                range_end=end_of(prefix),
                mod_revision=revision + 1,
            )


def _operation(write: kv.Write) -> RequestOp:
    match write:
        case kv.Put(key=key, value=value, lease=lease):
            return RequestOp(request_put=PutRequest(key=key.encode(), value=value, lease=lease))
        case kv.Delete(key=key):
            return RequestOp(request_delete_range=DeleteRangeRequest(key=key.encode()))
