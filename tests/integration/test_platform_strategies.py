"""The five strategies as a user has them: real processes, under load, each to its end and each on its way back."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from hotswap import etcd
from hotswap.mirror import mirrored
from hotswap.store import Store
from tests.functions import ECHO, write_function
from tests.load import Seen, steady_load
from tests.stage import Stage, staged

NODES = 4
RATE = 60
"""Invocations per second."""
LIMIT = 60.0
"""Seconds."""
FAILS_IN_EARNEST = """
    def handler(event, context):
        if event.get("sample"):
            return {"label": "good at tests"}
        raise ValueError("the new version fails")
"""
"""Passes its tests, and fails whoever invokes it."""
SAMPLE = "sample_payload = { sample = true }\n"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("strategies"), agents=NODES, workers=2) as stage:
        yield stage


@dataclass
class Told:
    """A deployment that has ended, and what its function's users saw."""

    id: str
    status: str
    events: list[str]
    seen: Seen

    @property
    def weights(self) -> list[str]:
        """In the order in which they were given."""
        return [text.removeprefix("production: ") for text in self.events if text.startswith("production: ")]

    @property
    def failed_on_account_of_the_platform(self) -> list[str]:
        return [failure for failure in self.seen.failures if "the new version fails" not in failure]


async def function(stage: Stage, name: str, code: str = ECHO) -> None:
    """Version 1 has the traffic; version 2 is published."""
    folder = stage.folder / name
    await stage.publish(write_function(folder / "1", ECHO, name=name, manifest=SAMPLE, label="one"))
    label = {"label": "two"} if code == ECHO else {}
    await stage.publish(write_function(folder / "2", code, name=name, manifest=SAMPLE, **label))
    await stage.all_at_once(name, 1)


async def deployed(stage: Stage, name: str, strategy: str, *, code: int, **config: Any) -> Told:
    """Version 2, by the strategy, under load; `code` is the exit code that must come."""
    async with steady_load(stage.url(name), rate=RATE, body=lambda: b'{"sample": false}') as seen:
        answer = await stage.hotswap(
            *("deploy", name, "2", "--strategy", strategy, "--config", "-", "--wait", "--timeout", "90s", "-o", "json"),
            code=code,
            stdin=json.dumps(config),
        )
    return await told(stage, answer.json["id"], seen)


async def told(stage: Stage, name: str, seen: Seen) -> Told:
    followed = await stage.hotswap("get", "deployment", name, "-w", "--timeout", "60s", code=None)
    events = [line.split("  ", 1)[1] for line in followed.out.splitlines() if "  " in line]
    return Told(name, (await stage.deployment(name))["status"], events, seen)


async def runs_only(stage: Stage, name: str, version: int) -> None:
    """Returns when every node serves that version of the function and none serves another."""
    wanted = {(f"node-{number}", version) for number in range(1, NODES + 1)}
    kv = etcd.connect(stage.platform.etcd)
    try:
        async with asyncio.timeout(LIMIT), mirrored(Store(kv).endpoints, name) as endpoints:
            await endpoints.until(lambda it: {(one.value.node, one.value.version) for one in it} == wanted)
    finally:
        await kv.close()


BATCHES = {"batchSize": 25, "batchDuration": "PT1S", "minInvocations": 1}
BLUE_GREEN = {"testDuration": "PT1S", "monitorDuration": "PT2S", "keepBlueDuration": "PT2S"}


async def test_a_rolling_deployment_changes_the_nodes_batch_by_batch_and_fails_nobody(stage: Stage) -> None:
    await function(stage, "rolling")
    done = await deployed(stage, "rolling", "rolling", code=0, **BATCHES)
    assert done.status == "Succeeded"
    assert done.weights == ["v1 75 %, v2 25 %", "v1 50 %, v2 50 %", "v1 25 %, v2 75 %", "v2 100 %"]
    assert done.seen.failures == []
    await runs_only(stage, "rolling", 2)


async def test_a_rolling_deployment_that_fails_restores_every_node(stage: Stage) -> None:
    await function(stage, "rolling-back", FAILS_IN_EARNEST)
    done = await deployed(stage, "rolling-back", "rolling", code=1, **BATCHES)
    assert done.status == "RolledBack", "\n".join(done.events)
    assert done.weights[0] == "v1 75 %, v2 25 %"
    assert done.weights[-1] == "v1 100 %"
    assert done.failed_on_account_of_the_platform == []
    assert done.seen.failures
    await runs_only(stage, "rolling-back", 1)


async def test_green_is_tested_takes_everything_and_blue_is_retired_after_its_time(stage: Stage) -> None:
    await function(stage, "blue-green")
    done = await deployed(stage, "blue-green", "blue-green", code=0, **BLUE_GREEN)
    assert done.status == "Succeeded"
    assert done.weights == ["v2 100 %"]
    assert done.seen.failures == []
    [tests] = [text for text in done.events if text.startswith("the tests of version 2 passed")]
    assert "smoke: the sample payload was answered" in tests
    assert "load: 0 of 100 invocations failed" in tests
    await runs_only(stage, "blue-green", 2)


async def test_green_that_fails_its_tests_has_no_traffic_and_is_put_aside(stage: Stage) -> None:
    await function(stage, "bad-green", FAILS_IN_EARNEST.replace('event.get("sample")', "False"))
    before = await stage.hotswap("deploy", "bad-green", "2", "--strategy", "blue-green", "--wait", code=1)
    assert "version 2 does not start" in before.out  # its warm request has the sample payload too
    refused = await stage.hotswap("deploy", "bad-green", "2", "--strategy", "canary", code=1)
    assert "add `--force`" in refused.err
    listed = await stage.hotswap("quarantine", "list", "-o", "json")
    assert [(one["function"], one["version"]) for one in listed.json if one["function"] == "bad-green"]
    assert await stage.weights("bad-green") == {"1": 100}


async def test_green_whose_answers_do_not_fit_their_schema_has_no_traffic_and_is_not_counted(stage: Stage) -> None:
    await function(stage, "misfit")
    schema = 'schemas.output = { properties = { label = { const = "three" } } }\n'
    folder = stage.folder / "misfit" / "3"
    await stage.publish(write_function(folder, ECHO, name="misfit", manifest=SAMPLE + schema, label="other"))
    config = json.dumps({**BLUE_GREEN, "tests": {"load": {"requests": 5}}})
    answer = await stage.hotswap(
        *("deploy", "misfit", "3", "--strategy", "blue-green", "--config", "-", "--wait", "--timeout", "90s"),
        code=1,
        stdin=config,
    )
    assert "the tests of version 3 failed: schema: the answer does not fit its schema: $.label: 'three'" in answer.out
    assert await stage.weights("misfit") == {"1": 100}
    assert ("production", 3) not in await stage.counted("misfit")


async def test_green_that_fails_with_traffic_is_back_to_blue_at_once(stage: Stage) -> None:
    await function(stage, "blue-again", FAILS_IN_EARNEST)
    config = {**BLUE_GREEN, "monitorDuration": "PT30S", "tests": {"load": None}}
    done = await deployed(stage, "blue-again", "blue-green", code=1, **config)
    assert done.status == "RolledBack", "\n".join(done.events)
    assert done.weights == ["v2 100 %", "v1 100 %"]
    assert done.failed_on_account_of_the_platform == []
    await runs_only(stage, "blue-again", 1)


async def test_an_a_b_test_ties_users_to_versions_and_ends_with_the_winner_that_a_person_names(stage: Stage) -> None:
    await function(stage, "ab")
    config = {"testDuration": "PT2S", "minInvocations": 1, "sticky": "header:X-User"}
    async with steady_load(stage.url("ab"), rate=RATE) as seen:
        answer = await stage.hotswap(
            *("deploy", "ab", "2", "--strategy", "ab-testing", "--config", "-", "--wait", "--timeout", "60s"),
            code=3,
            stdin=json.dumps(config),
        )
        assert "AwaitingPromotion" in answer.out
        [name] = [line.split()[1].rstrip(":") for line in answer.out.splitlines() if line.startswith("deployment ")]
        table = (await stage.hotswap("get", "deployment", name)).out
        assert "Version A (v1)" in table
        compared = (await stage.hotswap("compare", name)).out
        assert "Version A (v1)" in compared
        assert "has not run its time" not in compared
        refused = await stage.hotswap("promote", name, code=1)
        assert f"hotswap promote {name} --winner" in refused.err
        await stage.hotswap("promote", name, "--winner", "2", "--why", "it is better")
        await stage.hotswap("get", "deployment", name, "-w", "--timeout", "60s")
    assert await stage.weights("ab") == {"2": 100}
    assert seen.failures == []
    assert set(seen.versions) == {1, 2}


async def test_versions_are_compared_while_their_test_runs(stage: Stage) -> None:
    await function(stage, "ab-live")
    config = {"testDuration": "PT10M", "sticky": "header:X-User"}
    async with steady_load(stage.url("ab-live"), rate=RATE):
        begun = await stage.hotswap(
            *("deploy", "ab-live", "2", "--strategy", "ab-testing", "--config", "-", "-o", "json"),
            stdin=json.dumps(config),
        )
        name = json.loads(begun.out)["id"]

        async with asyncio.timeout(60):
            while (answer := await stage.hotswap("compare", name, "-o", "json", code=None)).code or not all(
                json.loads(answer.out)["units"].values()
            ):
                assert not answer.code or "has not begun" in answer.err
        told = (await stage.hotswap("compare", name)).out
        assert "No winner: " in told
        assert "the test has not run its time" in told
        await stage.hotswap("abort", name)
        await stage.hotswap("get", "deployment", name, "-w", "--timeout", "60s", code=1)
    refused = await stage.hotswap("compare", name, code=1)
    assert "ended before its versions were compared" in refused.err


async def test_a_challenger_that_fails_ends_the_test(stage: Stage) -> None:
    await function(stage, "ab-bad", FAILS_IN_EARNEST)
    config = {"testDuration": "PT10M", "sticky": "header:X-User"}  # which nobody sends: each invocation is picked anew
    done = await deployed(stage, "ab-bad", "ab-testing", code=1, **config)
    assert done.status == "RolledBack", "\n".join(done.events)
    assert done.weights == ["v1 50 %, v2 50 %", "v1 100 %"]
    assert done.failed_on_account_of_the_platform == []


async def test_a_canary_that_fails_is_back_long_before_its_phase_is_over(stage: Stage) -> None:
    await function(stage, "canary-bad", FAILS_IN_EARNEST)
    done = await deployed(stage, "canary-bad", "canary", code=1, canaryIncrements=[10, 50], canaryDuration="PT10M")
    assert done.status == "RolledBack", "\n".join(done.events)
    assert done.weights == ["v1 90 %, v2 10 %", "v1 100 %"]
    assert done.failed_on_account_of_the_platform == []


async def test_a_version_that_was_given_everything_at_once_is_taken_back_by_one_command(stage: Stage) -> None:
    await function(stage, "at-once", FAILS_IN_EARNEST)
    async with steady_load(stage.url("at-once"), rate=RATE, body=lambda: b'{"sample": false}') as seen:
        answer = await stage.hotswap(
            "deploy", "at-once", "2", "--strategy", "all-at-once", "--wait", "--timeout", "60s", "-o", "json"
        )
        name = answer.json["id"]
        await stage.hotswap("rollback", name)
        await stage.hotswap("get", "deployment", name, "-w", "--timeout", "60s", code=1)
    done = await told(stage, name, seen)
    assert done.weights == ["v2 100 %", "v1 100 %"]
    assert done.failed_on_account_of_the_platform == []


async def test_a_deployment_waits_for_its_turn_and_one_that_supersedes_does_not(stage: Stage) -> None:
    await function(stage, "turns")
    first = await stage.canary("turns", 2, canaryIncrements=[10], canaryDuration="PT10M")
    await stage.publish(write_function(stage.folder / "turns" / "3", ECHO, name="turns", manifest=SAMPLE, label="3"))
    queued = await stage.hotswap(
        "deploy", "turns", "3", "--strategy", "all-at-once", "--on-conflict", "queue", "-o", "json"
    )
    assert queued.json["status"] == "Queued"
    last = await stage.hotswap(
        *("deploy", "turns", "2", "--strategy", "all-at-once", "--on-conflict", "supersede"),
        *("--wait", "--timeout", "60s", "-o", "json"),
    )
    assert last.json["status"] == "Succeeded"
    assert await stage.weights("turns") == {"2": 100}
    assert (await stage.deployment(first))["status"] == "Aborted"
    assert (await stage.deployment(queued.json["id"]))["status"] == "Aborted"


async def test_weights_by_hand_make_a_deployment_stand_still_until_a_person_decides(stage: Stage) -> None:
    await function(stage, "by-hand")
    name = await stage.canary("by-hand", 2, canaryIncrements=[10], canaryDuration="PT10M")
    await stage.holding(name)
    refused = await stage.hotswap("alias", "set", "by-hand:production", "1=50,2=50", code=1)
    assert name in refused.err
    assert "or add `--override`" in refused.err
    await stage.hotswap("alias", "set", "by-hand:production", "1=50,2=50", "--override", "--why", "a try")
    held = await stage.deployment(name)
    assert held["status"] == "Held"
    assert "gave the alias other weights: a try" in held["reason"]
    await stage.hotswap("resume", name, "--adopt")
    await stage.holding(name)
    assert await stage.weights("by-hand") == {"1": 50, "2": 50}
    await stage.hotswap("promote", name, "--full")
    await stage.hotswap("get", "deployment", name, "-w", "--timeout", "60s")
    assert await stage.weights("by-hand") == {"2": 100}
    undone = await stage.hotswap("undo", "by-hand", "--why", "a complaint", "-o", "json")
    await stage.hotswap("get", "deployment", undone.json["id"], "-w", "--timeout", "60s")
    assert await stage.weights("by-hand") == {"1": 100}
