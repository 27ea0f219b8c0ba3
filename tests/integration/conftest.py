"""A router that tests of one file share, and a platform with a REST interface for each test that asks for one."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hotswap.etcd.local import LocalEtcd
from hotswap.settings import EtcdSettings, Lane
from tests.lambda_client import Lambda, lambda_platform
from tests.rest import World, world_on
from tests.router_harness import RouterUnderTest, routing


@pytest.fixture(scope="module", params=["express", "general"])
def lane(request: pytest.FixtureRequest) -> Lane:
    """What a router does is the same through both."""
    chosen: Lane = request.param
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def router(
    shared_etcd: LocalEtcd, tmp_path_factory: pytest.TempPathFactory, lane: Lane
) -> AsyncIterator[RouterUnderTest]:
    """One router for all of these tests; each has a function of its own."""
    settings = EtcdSettings(endpoints=(shared_etcd.endpoint,))
    async with routing(settings, tmp_path_factory.mktemp("router"), lane=lane) as made:
        yield made


@pytest.fixture(scope="module")
def lambdas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    """A whole platform for all of these tests, as a process."""
    with lambda_platform(tmp_path_factory.mktemp("lambda") / "state") as made:
        yield made


@pytest.fixture(scope="module")
def client(lambdas: Lambda) -> Any:
    """Of boto3."""
    return lambdas.client


@pytest.fixture
def fn() -> str:
    return f"fn-{secrets.token_hex(4)}"


@pytest_asyncio.fixture
async def world(etcd: EtcdSettings, tmp_path: Path) -> AsyncIterator[World]:
    async with world_on(etcd, tmp_path) as made:
        yield made
