"""A lease that is kept alive, and that its holder can trust: it ends here before it can end at etcd.

Its deadline counts from when the last keep-alive that was answered was *sent*, since etcd began to count no earlier.
Past the deadline the lease is lost for good, even if etcd would still revive it: the holder has acted on the loss.
"""

import asyncio
import logging
import time
from contextlib import suppress

import grpc

from hotswap import kv
from hotswap.etcd import faults
from hotswap.etcd.auth import HAS_LEADER, Login
from hotswap.etcd.calls import Calls
from hotswap.etcd.connection import Connection, Members
from hotswap.etcd.wire.rpc_pb2 import LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest

log = logging.getLogger(__name__)

MARGIN = 0.1
"""Part of the time to live by which the deadline is earlier than etcd's: for clocks, and for the holder to stop."""
KEEP_ALIVE_EVERY = 0.25
"""Part of the time to live between two keep-alives, and the limit for the answer to each."""
RETRY_AFTER = 0.1
"""Seconds before a stream of keep-alives that failed is opened again."""

Call = grpc.aio.StreamStreamCall[LeaseKeepAliveRequest, LeaseKeepAliveResponse]


class EtcdLease:
    """`sent` is when the grant was asked for."""

    def __init__(self, lease: int, ttl: int, *, sent: float, members: Members, login: Login, calls: Calls) -> None:
        self._id = lease
        self._ttl = ttl
        self._members = members
        self._login = login
        self._calls = calls
        self._deadline = sent + ttl * (1 - MARGIN)
        self._gone = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep(), name=f"lease {lease:x}")

    @property
    def id(self) -> int:
        return self._id

    @property
    def deadline(self) -> float:
        return 0.0 if self._gone.is_set() else self._deadline

    async def lost(self) -> None:
        while not self._gone.is_set() and (left := self._deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), left)
        self._gone.set()

    async def revoke(self) -> None:
        await self.abandon()
        try:
            await self._calls.repeatable(lambda to: to.lease.LeaseRevoke, LeaseRevokeRequest(ID=self._id))
        except kv.KVError as error:
            log.info("lease %x could not be revoked and runs out: %s", self._id, error)

    async def abandon(self) -> None:
        """Keep it alive no more; it runs out."""
        self._gone.set()
        self._keeping.cancel()
        await asyncio.wait({self._keeping})

    async def _keep(self) -> None:
        try:
            while not self._gone.is_set() and (left := self._deadline - time.monotonic()) > 0:
                try:
                    await self._keep_over(await self._members.ready(left))
                except kv.Unreachable as error:
                    log.warning("lease %x is not kept alive: %s", self._id, error)
                    await asyncio.sleep(RETRY_AFTER)
        except kv.LeaseLost:
            log.warning("lease %x is gone at etcd", self._id)
        finally:
            self._gone.set()

    async def _keep_over(self, connection: Connection) -> None:
        """Over one stream, until it fails; raises `kv.LeaseLost` when etcd says so."""
        call: Call | None = None
        try:
            call = connection.lease.LeaseKeepAlive(None, metadata=HAS_LEADER + await self._login.metadata(connection))
            while not self._gone.is_set():
                await self._keep_once(call)
                await asyncio.sleep(self._ttl * KEEP_ALIVE_EVERY)
        except grpc.aio.AioRpcError as error:
            self._members.distrust(connection)
            if faults.token_is_stale(error):
                self._login.forget()
            raise faults.translate(error, connection.endpoint) from error
        except (asyncio.InvalidStateError, TimeoutError) as error:
            self._members.distrust(connection)
            raise kv.Unreachable(f"etcd at {connection.endpoint} does not answer keep-alives") from error
        finally:
            if call:
                call.cancel()

    async def _keep_once(self, call: Call) -> None:
        sent = time.monotonic()
        async with asyncio.timeout(self._ttl * KEEP_ALIVE_EVERY):
            await call.write(LeaseKeepAliveRequest(ID=self._id))
            answer = await call.read()
        if not isinstance(answer, LeaseKeepAliveResponse):
            raise asyncio.InvalidStateError("the stream ended")
        if answer.TTL <= 0:
            raise kv.LeaseLost(f"lease {self._id:x} is gone")
        self._deadline = sent + answer.TTL * (1 - MARGIN)
