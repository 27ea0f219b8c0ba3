"""What can be known before a deployment, on a platform of real processes under load."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.functions import ECHO, write_function
from tests.load import steady_load
from tests.stage import Stage, staged

RATE = 50
"""Invocations per second."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("before")) as stage:
        yield stage


async def function(stage: Stage, name: str) -> None:
    """Version 1 has the traffic; version 2 is published."""
    for label in ("one", "two"):
        await stage.publish(write_function(stage.folder / name / label, ECHO, name=name, label=label))
    await stage.all_at_once(name, 1)


async def test_a_plan_counts_the_requests_that_there_are_and_changes_nothing(stage: Stage) -> None:
    await function(stage, "planned")
    before = await stage.hotswap("alias", "get", "planned", "-o", "json")
    async with steady_load(stage.url("planned"), rate=RATE):
        told = (await stage.hotswap("plan", "planned", "2", "--strategy", "canary", "-o", "json")).json
    assert 0 < told["requestsPerSecond"] <= 2 * RATE
    assert (told["stable"], told["assumed"]) == (1, False)
    assert (await stage.hotswap("alias", "get", "planned", "-o", "json")).out == before.out
    listed = await stage.hotswap("list", "deployments", "--function", "planned", "-o", "json")
    assert len(listed.json) == 1


async def test_a_plan_for_what_nobody_invokes_asks_for_the_rate(stage: Stage) -> None:
    await function(stage, "idle")
    refused = await stage.hotswap("plan", "idle", "2", "--strategy", "canary", code=64)
    assert "nobody has invoked" in refused.err
    assert "--rps" in refused.err


async def test_a_plan_for_a_version_that_is_not_there_tells_those_that_are(stage: Stage) -> None:
    await function(stage, "absent")
    refused = await stage.hotswap("plan", "absent", "3", "--strategy", "canary", "--rps", "5", code=1)
    assert "its versions are: 1, 2" in refused.err
