"""A test of two versions by what their users do, from the field of an answer and the outcome that is told later to the
table that is printed: real processes, two workers of a router."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.functions import write_function
from tests.stage import Stage, staged

SHOP = """
    def handler(event, context):
        user = int(event["headers"]["user"])
        bought = user % 10 < {of_ten}
        return {{"statusCode": 200, "headers": {{"Hotswap-Metric": f"conversion={{int(bought)}}"}}, "body": "{{}}"}}
"""
USERS = 600
VISITS = 2
AT_ONCE = 16
LIMIT = 60.0
"""Seconds."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("comparison"), agents=1, workers=2) as stage:
        yield stage


async def visited(stage: Stage, session: aiohttp.ClientSession) -> dict[int, tuple[int, str]]:
    """The version of each user, and the id of the user's last request."""
    seen: dict[int, tuple[int, str]] = {}
    room = asyncio.Semaphore(AT_ONCE)

    async def visit(user: int) -> None:
        async with room, session.post(stage.url("shop"), headers={"User": str(user)}, json={}) as answer:
            assert answer.status == 200, await answer.text()
            assert "Hotswap-Metric" not in answer.headers
            seen[user] = int(answer.headers["Hotswap-Version"]), answer.headers["Hotswap-Request-Id"]

    for _ in range(VISITS):
        await asyncio.gather(*(visit(user) for user in range(USERS)))
    return seen


async def told(stage: Stage, session: aiohttp.ClientSession, outcomes: list[dict[str, Any]]) -> dict[str, int]:
    url = f"http://{stage.platform.rest}/api/v1/functions/shop/outcomes"
    headers = {"Authorization": f"Bearer {stage.platform.token}"}
    async with session.post(url, json={"outcomes": outcomes}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        taken: dict[str, int] = await answer.json()
        return taken


async def begun(stage: Stage) -> str:
    for number, of_ten in ((1, 2), (2, 8)):
        folder = stage.folder / f"shop-{number}"
        await stage.publish(write_function(folder, SHOP, name="shop", of_ten=of_ten))
    await stage.all_at_once("shop", 1)
    config = {
        "testDuration": "PT10M",
        "sticky": "header:User",
        "metricsToCompare": ["errorRate", "conversionRate", "revenue"],
        "metrics": {"revenue": {"kind": "mean", "direction": "higher", "title": "Revenue"}},
        "plannedUnits": USERS,
    }
    answer = await stage.hotswap(
        *("deploy", "shop", "2", "--strategy", "ab-testing", "--config", "-", "-o", "json"), stdin=json.dumps(config)
    )
    name = str(json.loads(answer.out)["id"])
    async with asyncio.timeout(LIMIT):
        while (answer := await stage.hotswap("compare", name, code=None)).code:
            assert "has not begun" in answer.err
    return name


async def figures_are_those(stage: Stage, share: dict[int, int]) -> None:
    """What `hotswap metrics` tells of the same."""
    told = (await stage.hotswap("metrics", "shop", "-o", "json")).json
    counted = {one["version"]: one for one in told["versions"] if one["alias"] == "production"}
    for version, users in share.items():
        one = counted[version]
        assert one["invocations"] == VISITS * users
        assert (one["successRate"], one["inFlight"], one["platformFailures"]) == (1.0, 0, 0)
        assert 0 < one["p50"] <= one["p95"] <= one["p99"]
        assert set(one["errors"]) == {"status", "exception", "timeout", "died"}
    assert {one["version"] for one in told["instances"]} == {1, 2}
    for instance in told["instances"]:
        assert instance["state"] == "ready"
        assert instance["memory"] > 1_000_000
        assert instance["cpuSeconds"] > 0
        assert set(instance["startMs"]) - {"first"} == {"fetch", "spawn", "ready", "import", "init", "warm"}
    assert told["missing"] == []
    table = (await stage.hotswap("metrics", "shop")).out
    assert "production" in table
    assert "conversion 0.2" in table or "conversion 0.1" in table
    assert "ready" in table


async def test_versions_are_compared_by_what_users_do_while_they_do_it(stage: Stage) -> None:
    name = await begun(stage)
    async with aiohttp.ClientSession() as session:
        seen = await visited(stage, session)
        late = [
            {"id": f"order-{user}", "metrics": {"revenue": 5 * version}}
            | ({"stickyKey": str(user)} if user % 2 else {"requestId": request_id})
            for user, (version, request_id) in seen.items()
        ]
        assert await told(stage, session, late) == {"counted": USERS, "repeated": 0}
        assert await told(stage, session, late) == {"counted": 0, "repeated": USERS}
    found = (await stage.hotswap("compare", name, "-o", "json")).json
    share = {number: sum(version == number for version, _ in seen.values()) for number in (1, 2)}
    assert found["unit"] == "user"
    assert {int(version): units for version, units in found["units"].items()} == pytest.approx(share, rel=0.02)
    metrics = {one["metric"]: one for one in found["metrics"]}
    assert metrics["conversionRate"]["values"] == pytest.approx({"1": 0.2, "2": 0.8}, abs=0.1)
    assert metrics["conversionRate"]["standings"] == {"1": "lose", "2": "win"}
    assert metrics["revenue"]["values"] == pytest.approx({"1": 5.0, "2": 10.0}, rel=0.02)
    assert metrics["revenue"]["standings"] == {"1": "lose", "2": "win"}
    assert found["notMeasured"] == []
    assert found["withheld"] == ["the test has not run its time"]
    table = (await stage.hotswap("compare", name)).out
    assert table.startswith("users: v1 ")
    assert "Conversion Rate" in table
    assert "Revenue" in table
    await figures_are_those(stage, share)
    await stage.hotswap("abort", name)
    await stage.hotswap("get", "deployment", name, "-w", "--timeout", "60s", code=1)
