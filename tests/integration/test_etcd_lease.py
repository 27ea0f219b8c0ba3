"""A lease is kept alive through whatever passes, and its holder knows in time when it is not."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest_asyncio

from hotswap.etcd import EtcdKV, connect
from hotswap.etcd.lease import MARGIN, EtcdLease
from hotswap.etcd.local import LocalEtcd
from hotswap.etcd.wire.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
)
from hotswap.etcd.wire.rpc_pb2_grpc import LeaseServicer, add_LeaseServicer_to_server
from hotswap.kv import Deleted, Put
from hotswap.settings import EtcdSettings
from tests.conditions import eventually
from tests.etcd_admin import Admin
from tests.tcp_proxy import proxied

LIMIT = 20
"""Seconds for anything here."""
SHORT = timedelta(seconds=2)
"""The shortest lease that etcd grants."""


@pytest_asyncio.fixture
async def kv(private_etcd: LocalEtcd) -> AsyncIterator[EtcdKV]:
    store = connect(EtcdSettings(endpoints=(private_etcd.endpoint,)))
    yield store
    await store.close()


async def prolonged(lease: EtcdLease, *, past: float) -> None:
    await eventually(lambda: not lease.deadline or lease.deadline > past)
    assert lease.deadline, "lost"


async def _gone(kv: EtcdKV, key: str) -> None:
    async with kv.watch(key) as batches:
        batch = await anext(batches)
        while batch.whole and batch.changes:
            batch = await anext(batches)
        assert all(change == Deleted(key, change.mod_revision) for change in batch.changes)


async def test_it_is_kept_alive_past_its_time_to_live(kv: EtcdKV) -> None:
    async with asyncio.timeout(LIMIT):
        lease = await kv.grant(SHORT)
        await kv.commit(require=[], write=[Put("/t/a", b"1", lease.id)])
        await prolonged(lease, past=lease.deadline + 2 * SHORT.total_seconds())
        assert await kv.get("/t/a")


async def test_it_outlives_a_restart_of_etcd(kv: EtcdKV, private_etcd: LocalEtcd) -> None:
    async with asyncio.timeout(LIMIT):
        lease = await kv.grant(timedelta(seconds=8))
        await kv.commit(require=[], write=[Put("/t/a", b"1", lease.id)])
        await private_etcd.kill()
        await private_etcd.start()
        await prolonged(lease, past=time.monotonic() + 6)
        assert await kv.get("/t/a")


async def test_it_is_lost_at_its_own_deadline_when_etcd_hangs(kv: EtcdKV, private_etcd: LocalEtcd) -> None:
    async with asyncio.timeout(LIMIT):
        lease = await kv.grant(SHORT)
        await prolonged(lease, past=lease.deadline)
        private_etcd.freeze()
        deadline = lease.deadline
        await lease.lost()
        assert time.monotonic() >= deadline
        assert lease.deadline == 0


async def test_once_lost_it_is_lost_for_good(kv: EtcdKV, private_etcd: LocalEtcd) -> None:
    async with asyncio.timeout(LIMIT):
        lease = await kv.grant(SHORT)
        await kv.commit(require=[], write=[Put("/t/a", b"1", lease.id)])
        private_etcd.freeze()
        await lease.lost()
        private_etcd.thaw()
        await _gone(kv, "/t/a")
        assert lease.deadline == 0


async def test_the_deadline_counts_only_keep_alives_that_were_answered(private_etcd: LocalEtcd) -> None:
    async with asyncio.timeout(LIMIT), proxied(private_etcd.endpoint) as proxy:
        kv = connect(EtcdSettings(endpoints=(proxy.address,)))
        lease = await kv.grant(SHORT)
        await prolonged(lease, past=lease.deadline)
        proxy.hold_answers()
        await proxy.holds.wait()
        deadline = lease.deadline
        await lease.lost()
        assert time.monotonic() >= deadline
        await kv.close()


class LateAnswers(LeaseServicer):
    """Answers each keep-alive half a second after it came."""

    TTL = 10
    DELAY = 0.5

    def __init__(self) -> None:
        self.came: list[float] = []

    async def LeaseGrant(self, request: LeaseGrantRequest, context: object) -> LeaseGrantResponse:  # noqa: N802 - etcd's
        return LeaseGrantResponse(ID=1, TTL=self.TTL)

    async def LeaseKeepAlive(self, requests: Any, context: object) -> AsyncIterator[LeaseKeepAliveResponse]:  # noqa: N802
        async for request in requests:
            self.came.append(time.monotonic())
            await asyncio.sleep(self.DELAY)
            yield LeaseKeepAliveResponse(ID=request.ID, TTL=self.TTL)

    async def LeaseRevoke(self, request: LeaseRevokeRequest, context: object) -> LeaseRevokeResponse:  # noqa: N802
        return LeaseRevokeResponse()


@pytest_asyncio.fixture
async def late() -> AsyncIterator[tuple[LateAnswers, str]]:
    """The peer, and its address."""
    server, servicer = grpc.aio.server(), LateAnswers()
    add_LeaseServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(grace=None)


async def test_the_deadline_counts_from_when_a_keep_alive_was_sent(late: tuple[LateAnswers, str]) -> None:
    peer, address = late
    kv = connect(EtcdSettings(endpoints=(address,)))
    async with asyncio.timeout(LIMIT):
        lease = await kv.grant(timedelta(seconds=peer.TTL))
        await prolonged(lease, past=lease.deadline)
        deadline = lease.deadline
    await kv.close()
    assert deadline <= peer.came[0] + peer.TTL * (1 - MARGIN)


async def test_it_moves_to_another_member_when_the_first_hangs(private_etcd: LocalEtcd) -> None:
    async with asyncio.timeout(LIMIT), proxied(private_etcd.endpoint) as proxy:
        kv = connect(EtcdSettings(endpoints=(proxy.address, private_etcd.endpoint)))
        lease = await kv.grant(timedelta(seconds=4))
        proxy.hold_answers()
        await prolonged(lease, past=lease.deadline + 4)
        await kv.close()


async def test_a_lease_that_another_revoked_is_lost(kv: EtcdKV, private_etcd: LocalEtcd) -> None:
    async with asyncio.timeout(LIMIT):
        lease = await kv.grant(SHORT)
        Admin(private_etcd.endpoint).revoke(lease.id)
        await lease.lost()
        assert lease.deadline == 0


async def test_closing_the_client_leaves_the_lease_to_run_out(kv: EtcdKV, private_etcd: LocalEtcd) -> None:
    other = connect(EtcdSettings(endpoints=(private_etcd.endpoint,)))
    async with asyncio.timeout(LIMIT):
        lease = await other.grant(SHORT)
        await other.commit(require=[], write=[Put("/t/a", b"1", lease.id)])
        await other.close()
        assert await kv.get("/t/a")
        await lease.lost()
        await _gone(kv, "/t/a")


async def test_a_lease_that_is_abandoned_runs_out(kv: EtcdKV) -> None:
    async with asyncio.timeout(LIMIT):
        lease = await kv.grant(SHORT)
        await kv.commit(require=[], write=[Put("/t/a", b"1", lease.id)])
        await lease.abandon()
        assert await kv.get("/t/a")
        await _gone(kv, "/t/a")


async def test_revoking_where_etcd_is_gone_never_raises(kv: EtcdKV, private_etcd: LocalEtcd) -> None:
    async with asyncio.timeout(LIMIT):
        lease = await kv.grant(SHORT)
        await private_etcd.kill()
        await lease.revoke()
        assert lease.deadline == 0
