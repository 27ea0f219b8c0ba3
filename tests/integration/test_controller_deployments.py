"""Whole deployments: the real controller, scripted agents and routers behind real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio
from controller_platform import FUNCTION, Platform, all_at_once, canary, platform

from hotswap.deployment import Outcome, Status
from hotswap.memory import MemoryKV
from hotswap.model import encode
from hotswap.requests import AnyRequest
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform(MemoryKV(), tmp_path) as made:
        yield made


async def deploy(api: "ControllerAsyncStub", request: AnyRequest) -> str:
    with wire.calling("the controller"):
        return (await api.Deploy(pb.DeployRequest(request_json=encode(request).decode()))).id


async def test_the_first_deployment_of_an_alias_starts_the_version_and_gives_it_all_traffic(world: Platform) -> None:
    async with world.leading() as api:
        ended = await world.ended(await deploy(api, all_at_once(1)))
        assert ended.status is Status.SUCCEEDED
        alias = await world.alias()
        assert (alias.weights, alias.last_good, alias.owner) == ({1: 100}, 1, ended.id)
        assert await world.assigned("n1") == await world.assigned("n2") == {1}


async def test_all_at_once_replaces_the_version_and_retires_the_old_one(world: Platform) -> None:
    async with world.leading() as api:
        await world.ended(await deploy(api, all_at_once(1)))
        ended = await world.ended(await deploy(api, all_at_once(2)))
        assert ended.status is Status.SUCCEEDED
        assert (await world.alias()).weights == {2: 100}
        await world.assigned_becomes("n1", {2})
        assert not await world.store.endpoints.list(FUNCTION, 1)


async def test_a_canary_that_keeps_its_limits_takes_all_traffic(world: Platform) -> None:
    async with world.leading() as api:
        await world.ended(await deploy(api, all_at_once(1)))
        ended = await world.ended(await deploy(api, canary(2)))
        assert ended.status is Status.SUCCEEDED
        assert [verdict.outcome for verdict in ended.verdicts] == [Outcome.PASS] * 3
        alias = await world.alias()
        assert [change.weights for change in alias.history] == [{1: 100}, {1: 90, 2: 10}, {1: 50, 2: 50}, {2: 100}]
        assert alias.last_good == 2


async def test_a_canary_over_its_limit_is_rolled_back_and_withdrawn(world: Platform) -> None:
    world.behaviour.failing[2] = 0.2
    async with world.leading() as api:
        await world.ended(await deploy(api, all_at_once(1)))
        ended = await world.ended(await deploy(api, canary(2)))
        assert ended.status is Status.ROLLED_BACK
        assert ended.reason == "error rate 20 % (200 of 1000) is over the limit of 5 %"
        alias = await world.alias()
        assert (alias.weights, alias.last_good) == ({1: 100}, 1)
        await world.assigned_becomes("n1", {1})
