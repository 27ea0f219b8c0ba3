"""Fixtures that every kind of test may use."""

import urllib.request
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio

from hotswap.etcd.local import LocalEtcd, running
from hotswap.settings import EtcdSettings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compiled", action="store_true", help="refuse to test the router as plain Python")


def pytest_configure(config: pytest.Config) -> None:
    """What is compiled is preferred to its source: one that is older would be tested in its place."""
    express = find_spec("router.express")
    if config.getoption("--compiled") and not (express and str(express.origin).endswith(".so")):
        raise pytest.UsageError("router.express is not compiled, so neither is the rest: run scripts/compile")
    for compiled in Path("router").rglob("*.so"):
        source = compiled.parent / f"{compiled.name.split('.')[0]}.py"
        if source.exists() and source.stat().st_mtime > compiled.stat().st_mtime:
            raise pytest.UsageError(f"{source} is newer than what was compiled of it: run scripts/compile [--clean]")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEtcd]:
    """One real etcd for all tests that neither stop nor configure it; take it through `etcd`."""
    async with running(tmp_path_factory.mktemp("etcd") / "data") as server:
        yield server


@pytest.fixture
def etcd(shared_etcd: LocalEtcd) -> EtcdSettings:
    """Settings for a real etcd that holds nothing when the test begins."""
    _wipe(shared_etcd.endpoint)
    return EtcdSettings(endpoints=(shared_etcd.endpoint,))


@pytest_asyncio.fixture
async def private_etcd(tmp_path: Path) -> AsyncIterator[LocalEtcd]:
    """A real etcd of the test's own, to be killed, frozen and started again."""
    async with running(tmp_path / "etcd") as server:
        yield server


def _wipe(endpoint: str) -> None:
    """Deletes every key, by etcd's JSON gateway: range from the zero byte to the end, both written "AA=="."""
    body = b'{"key": "AA==", "range_end": "AA=="}'
    with urllib.request.urlopen(f"http://{endpoint}/v3/kv/deleterange", body, timeout=10) as answer:
        assert answer.status == 200
