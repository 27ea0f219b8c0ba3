"""Taking away an alias or a version: what nothing needs goes, with what runs for it, and what is needed stays."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from hotswap.errors import NotFound, Refused
from hotswap.memory import MemoryKV
from hotswap.model import Alias
from hotswap.requests import AllAtOnce, Canary
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from tests.controller_platform import ALIAS, FUNCTION, Platform, all_at_once, canary, platform

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform(MemoryKV(), tmp_path) as made:
        yield made


def staging(version: int) -> AllAtOnce:
    return AllAtOnce(function_name=FUNCTION, version=version, alias="staging")


async def remove_alias(api: "ControllerAsyncStub", name: str) -> pb.Alias:
    with wire.calling("the controller"):
        return await api.RemoveAlias(pb.RemoveAliasRequest(function=FUNCTION, name=name))


async def unpublish(api: "ControllerAsyncStub", number: int) -> pb.Version:
    with wire.calling("the controller"):
        return await api.Unpublish(pb.UnpublishRequest(function=FUNCTION, number=number))


async def test_an_alias_goes_with_what_ran_for_it_alone(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        await world.deployed(api, staging(2))
        await world.assigned_becomes("n1", {1, 2})
        assert dict((await remove_alias(api, "staging")).weights) == {2: 100}
        await world.assigned_becomes("n1", {1})
        assert await world.store.aliases.get(FUNCTION, "staging") is None
        with pytest.raises(NotFound):
            await remove_alias(api, "staging")


async def test_the_default_alias_stays(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        with pytest.raises(Refused, match="alone means"):
            await remove_alias(api, ALIAS)


async def test_an_alias_with_a_deployment_stays_until_that_has_ended(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, staging(1))
        begun = await world.deploy(api, Canary(function_name=FUNCTION, version=2, alias="staging"))
        with pytest.raises(Refused, match=f"deployment {begun} runs on alias"):
            await remove_alias(api, "staging")
        with pytest.raises(Refused, match=f"deployment {begun} needs version 2"):
            await unpublish(api, 2)
        with pytest.raises(Refused, match=f"deployment {begun} needs version 1"):
            await unpublish(api, 1)


async def test_a_version_goes_when_no_alias_names_it_and_its_number_is_not_given_again(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, staging(2))
        with pytest.raises(Refused, match=r'alias "staging" of .* gives version 2 traffic'):
            await unpublish(api, 2)
        await remove_alias(api, "staging")
        assert (await unpublish(api, 2)).number == 2
        with pytest.raises(NotFound):
            await unpublish(api, 2)
        with pytest.raises(NotFound), wire.calling("the controller"):
            await api.GetVersion(pb.GetVersionRequest(function=FUNCTION, number=2))
        stored = await world.store.functions.get(FUNCTION)
        assert stored
        assert stored.value.last_version >= 2


async def test_a_version_that_failed_leaves_quarantine_with_it(world: Platform) -> None:
    world.behaviour.failing[2] = 0.5
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        await world.deployed(api, canary(2))
        assert await world.store.quarantine.get(FUNCTION, 2)
        await unpublish(api, 2)
        assert await world.store.quarantine.get(FUNCTION, 2) is None


async def test_a_version_that_an_alias_would_go_back_to_stays(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        stored = await world.store.aliases.get(FUNCTION, ALIAS)
        assert stored
        by_hand = Alias(function=FUNCTION, name=ALIAS, weights={2: 100}, last_good=1)
        await world.store.transaction().replace(stored, by_hand).commit()
        with pytest.raises(Refused, match="goes back to it"):
            await unpublish(api, 1)
