"""What can be known before a deployment, on a platform of real processes under load."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.functions import ECHO, write_function
from tests.load import steady_load
from tests.stage import Stage, staged

RATE = 50
"""Invocations per second."""
LIMIT = 90.0
"""Seconds."""

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


async def left(stage: Stage, name: str) -> tuple[list[int], list[str], list[str]]:
    """The function's versions, its aliases, and what is in quarantine of it."""
    versions = (await stage.hotswap("versions", name, "-o", "json")).json
    functions = (await stage.hotswap("functions", "-o", "json")).json
    isolated = (await stage.hotswap("quarantine", "list", "--function", name, "-o", "json")).json
    [aliases] = [one["aliases"] for one in functions if one["name"] == name]
    return [one["number"] for one in versions], [one["name"] for one in aliases], isolated


async def test_a_drill_proves_that_a_rollback_fires_and_leaves_nothing(stage: Stage) -> None:
    await function(stage, "drilled")
    before = await left(stage, "drilled")
    drilled = (await stage.hotswap("drill", "drilled", "--data", "{}", "-o", "json")).json
    assert drilled["fired"], drilled
    assert (drilled["good"], drilled["bad"]) == (1, 3)
    assert drilled["failed"] >= 3
    assert drilled["failedOtherwise"] == 0
    assert drilled["verdictAfter"] is not None
    assert drilled["lastPickAfter"] is not None
    assert "is over the limit of 5 %" in drilled["reason"]
    assert await left(stage, "drilled") == before
    assert await stage.weights("drilled") == {"1": 100}


async def test_a_drill_whose_limits_let_everything_pass_says_that_nothing_fired(stage: Stage) -> None:
    await function(stage, "lax")
    before = await left(stage, "lax")
    lax = '{"rollbackOnErrorRate": null, "rollbackOnErrorRatio": null}'
    told = await stage.hotswap("drill", "lax", "--data", "{}", "--config", "-", "--most", "40", code=1, stdin=lax)
    assert "did not fire: it is Running" in told.out
    assert await left(stage, "lax") == before


async def test_a_drill_that_is_interrupted_leaves_nothing(stage: Stage) -> None:
    await function(stage, "interrupted")
    before = await left(stage, "interrupted")
    lax = stage.folder / "lax.json"
    lax.write_text('{"rollbackOnErrorRate": null, "rollbackOnErrorRatio": null}')
    drill = await stage.begin("drill", "interrupted", "--data", "{}", "--config", str(lax), "--most", "100000")
    async with asyncio.timeout(LIMIT):
        while len((await stage.hotswap("list", "deployments", "--function", "interrupted", "-o", "json")).json) < 3:
            pass
    drill.send_signal(signal.SIGINT)
    async with asyncio.timeout(LIMIT):
        _, told = await drill.communicate()
    assert (drill.returncode, told.split()) == (130, [b"interrupted"])
    assert await left(stage, "interrupted") == before


async def test_a_drill_without_an_event_is_refused_before_anything_is_made(stage: Stage) -> None:
    await function(stage, "eventless")
    before = await left(stage, "eventless")
    refused = await stage.hotswap("drill", "eventless", code=64)
    assert "has no sample payload" in refused.err
    assert await left(stage, "eventless") == before


FAILS_IN_EARNEST = """
    def handler(event, context):
        raise ValueError("the new version fails")
"""


async def budgeted(stage: Stage, name: str, code: str, *, budget: int, exit_code: int) -> dict[str, Any]:
    """Version 2 with a harm budget, under load, to its end: the deployment, and how much of the load failed."""
    await stage.publish(write_function(stage.folder / name / "1", ECHO, name=name, label="one"))
    label = {"label": "two"} if code == ECHO else {}
    await stage.publish(write_function(stage.folder / name / "2", code, name=name, **label))
    await stage.all_at_once(name, 1)
    config = {"harmBudget": budget, "canaryDuration": "PT8S", "rollbackOnErrorRate": None, "rollbackOnErrorRatio": None}
    async with steady_load(stage.url(name), rate=RATE) as seen:
        answer = await stage.hotswap(
            *(
                "deploy",
                name,
                "2",
                "--strategy",
                "canary",
                "--config",
                "-",
                "--wait",
                "--timeout",
                "100s",
                "-o",
                "json",
            ),
            code=exit_code,
            stdin=json.dumps({**config, "minInvocations": 1}),
        )
    return {**answer.json, "failures": seen.failures}


async def test_a_harm_budget_is_kept_by_a_version_that_always_fails(stage: Stage) -> None:
    ended = await budgeted(stage, "harmful", FAILS_IN_EARNEST, budget=20, exit_code=1)
    assert ended["status"] == "RolledBack", ended["reason"]
    assert "a harm budget of 20: not even 1 %" in ended["reason"]
    assert 0 < len(ended["failures"]) <= 20
    assert all("the new version fails" in failure for failure in ended["failures"])
    assert await stage.weights("harmful") == {"1": 100}
    verified = await stage.hotswap("verify", ended["id"])
    assert "every verdict follows from its receipt" in verified.out


async def test_a_harm_budget_gives_a_good_version_all_of_the_traffic(stage: Stage) -> None:
    ended = await budgeted(stage, "harmless", ECHO, budget=1000, exit_code=0)
    assert ended["status"] == "Succeeded", ended["reason"]
    assert ended["failures"] == []
    assert await stage.weights("harmless") == {"2": 100}
    assert [verdict["outcome"] for verdict in ended["verdicts"]][-1] == "PASS"
