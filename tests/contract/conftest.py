"""Every test here runs on both stores: the in-memory twin and a real etcd."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hotswap.etcd import connect
from hotswap.kv import KV
from hotswap.memory import MemoryKV
from hotswap.settings import EtcdSettings


@pytest.fixture(params=["memory", "etcd"])
def cluster(request: pytest.FixtureRequest) -> EtcdSettings | None:
    """`None` for the store in memory."""
    settings: EtcdSettings | None = request.getfixturevalue("etcd") if request.param == "etcd" else None
    return settings


@pytest_asyncio.fixture
async def kv(cluster: EtcdSettings | None) -> AsyncIterator[KV]:
    store: KV = connect(cluster) if cluster else MemoryKV()
    try:
        yield store
    finally:
        await store.close()
