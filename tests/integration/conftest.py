"""A router that tests of one file share, and a platform with a REST interface for each test that asks for one."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hotswap.etcd.local import LocalEtcd
from hotswap.settings import EtcdSettings
from tests.rest import World, world_on
from tests.router_harness import RouterUnderTest, routing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def router(shared_etcd: LocalEtcd, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RouterUnderTest]:
    """One router for all of these tests; each has a function of its own."""
    settings = EtcdSettings(endpoints=(shared_etcd.endpoint,))
    async with routing(settings, tmp_path_factory.mktemp("router")) as made:
        yield made


@pytest.fixture
def fn() -> str:
    return f"fn-{secrets.token_hex(4)}"


@pytest_asyncio.fixture
async def world(etcd: EtcdSettings, tmp_path: Path) -> AsyncIterator[World]:
    async with world_on(etcd, tmp_path) as made:
        yield made
