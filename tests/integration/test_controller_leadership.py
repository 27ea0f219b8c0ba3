"""Two controllers on a real etcd: one leads, the other follows when it is gone; etcd itself may go away for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hotswap import etcd as etcd_client
from hotswap.deployment import Bake, Status
from hotswap.etcd.local import LocalEtcd
from hotswap.kv import KV
from hotswap.settings import EtcdSettings
from tests.controller_platform import all_at_once, canary, platform


@asynccontextmanager
async def connected(settings: EtcdSettings) -> AsyncIterator[KV]:
    store = etcd_client.connect(settings)
    try:
        yield store
    finally:
        await store.close()


async def test_a_deployment_runs_on_a_real_etcd(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with connected(etcd) as store, platform(store, tmp_path) as world, world.leading() as api:
        await world.deployed(api, all_at_once(1))
        world.behaviour.failing[2] = 0.3
        assert (await world.deployed(api, canary(2))).status is Status.ROLLED_BACK
        assert (await world.alias()).weights == {1: 100}


async def test_the_second_controller_goes_on_when_the_first_stops(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with connected(etcd) as store, platform(store, tmp_path) as world, connected(etcd) as another:
        async with world.leading("first") as api:
            await world.deployed(api, all_at_once(1))
            name = await world.deploy(api, canary(2, seconds=0.5))
            await world.until(name, lambda it: isinstance(it.steps[it.progress.index], Bake))
        async with world.leading("second", kv=another):
            assert (await world.ended(name)).status is Status.SUCCEEDED


async def test_an_etcd_that_goes_away_ends_neither_the_controller_nor_the_deployment(
    private_etcd: LocalEtcd, tmp_path: Path
) -> None:
    settings = EtcdSettings(endpoints=(private_etcd.endpoint,))
    async with connected(settings) as store, platform(store, tmp_path) as world, world.leading() as api:
        await world.deployed(api, all_at_once(1))
        name = await world.deploy(api, canary(2, seconds=1))
        await world.until(name, lambda it: isinstance(it.steps[it.progress.index], Bake))
        await private_etcd.kill()
        await private_etcd.start()
        assert (await world.ended(name)).status is Status.SUCCEEDED
        assert (await world.alias()).weights == {2: 100}
