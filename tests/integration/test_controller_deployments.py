"""Whole deployments: the real controller, scripted agents and routers behind real sockets."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from hotswap import requests
from hotswap.deployment import Bake, Status
from hotswap.errors import NotFound, Refused
from hotswap.judge.verdict import Outcome
from hotswap.memory import MemoryKV
from hotswap.model import Alias
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from tests.controller_platform import FUNCTION, LIMIT, Platform, all_at_once, canary, platform


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform(MemoryKV(), tmp_path) as made:
        yield made


async def test_the_first_deployment_of_an_alias_starts_the_version_and_gives_it_all_traffic(world: Platform) -> None:
    async with world.leading() as api:
        ended = await world.deployed(api, all_at_once(1))
        assert ended.status is Status.SUCCEEDED
        alias = await world.alias()
        assert (alias.weights, alias.last_good, alias.owner) == ({1: 100}, 1, ended.id)
        assert await world.assigned("n1") == await world.assigned("n2") == {1}


async def test_all_at_once_replaces_the_version_and_retires_the_old_one(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        ended = await world.deployed(api, all_at_once(2))
        assert ended.status is Status.SUCCEEDED
        assert (await world.alias()).weights == {2: 100}
        await world.assigned_becomes("n1", {2})
        assert not await world.store.endpoints.list(FUNCTION, 1)


async def test_a_canary_that_keeps_its_limits_takes_all_traffic(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        ended = await world.deployed(api, canary(2))
        assert ended.status is Status.SUCCEEDED
        assert [verdict.outcome for verdict in ended.verdicts] == [Outcome.PASS] * 3
        alias = await world.alias()
        assert [change.weights for change in alias.history] == [{1: 100}, {1: 90, 2: 10}, {1: 50, 2: 50}, {2: 100}]
        assert alias.last_good == 2


async def test_a_canary_over_its_limit_is_rolled_back_and_withdrawn(world: Platform) -> None:
    world.behaviour.failing[2] = 0.2
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        ended = await world.deployed(api, canary(2))
        assert ended.status is Status.ROLLED_BACK
        assert ended.reason.startswith("error rate 20 % (200 of 1000) is over the limit of 5 %")
        alias = await world.alias()
        assert (alias.weights, alias.last_good) == ({1: 100}, 1)
        await world.assigned_becomes("n1", {1})


async def test_a_version_that_begins_to_fail_is_taken_back_though_the_next_count_was_far(
    world: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("observer", "watcher"):
        monkeypatch.setattr(f"controller.{module}.SAMPLE_EVERY", timedelta(hours=1))
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        begun = await world.deploy(api, canary(2, seconds=3600))
        await world.until(begun, lambda it: isinstance(it.steps[it.progress.index], Bake))
        world.behaviour.failing[2] = 0.5
        ended = await world.ended(begun)
        assert ended.status is Status.ROLLED_BACK
        assert ended.verdicts[-1].rule == "guard:rollbackOnErrorRate"


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (requests.OnInsufficientData.ADVANCE, Status.SUCCEEDED),
        (requests.OnInsufficientData.ROLLBACK, Status.ROLLED_BACK),
    ],
)
async def test_a_phase_without_traffic_ends_by_the_policy_that_was_chosen(
    world: Platform, policy: requests.OnInsufficientData, status: Status
) -> None:
    world.behaviour.silent.add(2)
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        ended = await world.deployed(api, canary(2, on_insufficient_data=policy))
        assert ended.status is status
        assert {verdict.outcome for verdict in ended.verdicts} == {Outcome.INSUFFICIENT}


async def test_a_version_that_does_not_start_fails_with_the_agents_words_and_moves_no_traffic(world: Platform) -> None:
    world.behaviour.broken[2] = "ModuleNotFoundError: no module named nothing"
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        before = await world.alias()
        ended = await world.deployed(api, canary(2))
        assert ended.status is Status.FAILED
        assert "no module named nothing" in ended.reason
        assert await world.alias() == before
        await world.assigned_becomes("n1", {1})


async def test_a_version_that_fits_on_no_node_fails_at_once(world: Platform) -> None:
    await world.store.transaction().commit()
    stored = await world.store.versions.get(FUNCTION, 2)
    assert stored
    manifest = replace(stored.value.manifest, placement=replace(stored.value.manifest.placement, labels={"gpu": "yes"}))
    await world.store.transaction().replace(stored, replace(stored.value, manifest=manifest)).commit()
    async with world.leading() as api:
        ended = await world.deployed(api, all_at_once(2))
        assert ended.status is Status.FAILED
        assert "no node that carries the labels gpu=yes" in ended.reason


async def test_a_node_that_dies_while_a_version_starts_is_not_waited_for(tmp_path: Path) -> None:
    async with platform(MemoryKV(), tmp_path, nodes=1) as world, world.leading() as api:
        async with world.node("dying") as agent:
            agent.hangs.add(1)
            name = await world.deploy(api, all_at_once(1))
            await world.assigned_becomes("dying", {1})
        assert (await world.ended(name)).status is Status.SUCCEEDED


async def test_a_way_back_waits_for_nodes_where_all_were_lost(tmp_path: Path) -> None:
    async with platform(MemoryKV(), tmp_path, nodes=0) as world, world.leading() as api:
        async with world.node("n1"):
            await world.deployed(api, all_at_once(1))
            name = await world.deploy(api, canary(2, seconds=600))
            await world.until(name, lambda it: isinstance(it.plan[it.progress.index], Bake))
        await api.Rollback(pb.VerbRequest(id=name))
        await world.until(name, lambda it: it.status is Status.ROLLING_BACK)
        async with world.node("n1"):
            assert (await world.ended(name)).status is Status.ROLLED_BACK
        assert (await world.alias()).weights == {1: 100}


async def test_a_node_that_joins_later_gets_what_the_aliases_name(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        async with world.node("late"):
            await world.assigned_becomes("late", {1})


async def test_a_second_deployment_of_an_alias_is_refused_with_the_commands_that_work(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        first = await world.deploy(api, canary(2, seconds=60))
        with pytest.raises(Refused, match=f"deployment {first} runs") as refusal:
            await world.deploy(api, all_at_once(3))
        assert f"hotswap abort {first}" in refusal.value.hint


async def test_a_version_that_does_not_exist_is_refused_with_those_that_do(world: Platform) -> None:
    async with world.leading() as api:
        with pytest.raises(NotFound, match="no version 9") as refusal:
            await world.deploy(api, all_at_once(9))
        assert refusal.value.hint == "its versions are: 1, 2, 3"


async def in_first_phase(world: Platform, name: str) -> None:
    await world.until(name, lambda it: isinstance(it.steps[it.progress.index], Bake))


async def test_an_abort_goes_back_to_where_it_was(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        name = await world.deploy(api, canary(2, seconds=60))
        await in_first_phase(world, name)
        await api.Abort(pb.VerbRequest(id=name, why="wrong day"))
        ended = await world.ended(name)
        assert (ended.status, ended.reason) == (Status.ABORTED, "abort by someone: wrong day")
        assert (await world.alias()).weights == {1: 100}
        await world.assigned_becomes("n2", {1})


async def test_a_rollback_of_a_running_deployment_goes_back(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        name = await world.deploy(api, canary(2, seconds=60))
        await in_first_phase(world, name)
        await api.Rollback(pb.VerbRequest(id=name))
        await api.Rollback(pb.VerbRequest(id=name))
        assert (await world.ended(name)).status is Status.ROLLED_BACK
        assert (await world.alias()).weights == {1: 100}


async def test_a_rollback_of_the_last_success_starts_the_old_version_again(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        latest = await world.deployed(api, all_at_once(2))
        await world.assigned_becomes("n1", {2})
        await api.Rollback(pb.VerbRequest(id=latest.id))
        assert (await world.ended(latest.id)).status is Status.ROLLED_BACK
        alias = await world.alias()
        assert (alias.weights, alias.last_good) == ({1: 100}, 1)
        await world.assigned_becomes("n1", {1})


async def test_a_rollback_of_an_earlier_success_is_refused_with_the_one_to_roll_back(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        earlier = await world.deployed(api, all_at_once(2))
        latest = await world.deployed(api, all_at_once(3))
        with pytest.raises(Refused, match=f"changed by deployment {latest.id}") as refusal, wire.calling("it"):
            await api.Rollback(pb.VerbRequest(id=earlier.id))
        assert f"hotswap rollback {latest.id}" in refusal.value.hint


async def edited_by_hand(world: Platform, weights: dict[int, int]) -> None:
    stored = await world.store.aliases.get(FUNCTION, "production")
    assert stored
    await world.store.transaction().replace(stored, replace(stored.value, weights=weights)).commit()


@pytest.mark.parametrize(
    ("verb", "status", "weights"),
    [
        ("Promote", Status.SUCCEEDED, {2: 100}),
        ("Abort", Status.ABORTED, {1: 100}),
        ("Rollback", Status.ROLLED_BACK, {1: 100}),
    ],
)
async def test_a_foreign_edit_holds_the_deployment_until_a_person_decides(
    world: Platform, verb: str, status: Status, weights: dict[int, int]
) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        name = await world.deploy(api, canary(2, seconds=0.5))
        await in_first_phase(world, name)
        await edited_by_hand(world, {1: 20, 2: 80})
        held = await world.until(name, lambda it: it.status is Status.HELD)
        assert "gave it v1 90 %, v2 10 %, now it has v1 20 %, v2 80 %" in held.reason
        assert f"hotswap promote {name}" in held.reason
        await getattr(api, verb)(pb.VerbRequest(id=name))
        assert (await world.ended(name)).status is status
        assert (await world.alias()).weights == weights


async def test_a_watch_tells_every_event_once_until_the_end(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        name = await world.deploy(api, canary(2))
        async with asyncio.timeout(LIMIT):
            updates = [update async for update in api.WatchDeployment(pb.WatchDeploymentRequest(id=name))]
        numbers = [event.number for update in updates for event in update.events]
        assert numbers == list(range(1, len(numbers) + 1))
        assert updates[-1].deployment.status == "Succeeded"
        assert updates[-1].deployment.finished


async def test_events_tell_the_whole_story(world: Platform) -> None:
    async with world.leading() as api:
        ended = await world.deployed(api, all_at_once(1))
        assert await world.events(ended.id) == [
            'started: AllAtOnce of version 1 to alias "production" of "image-processor"',
            "step: step 1 of 2: start version 1",
            "node: version 1 is assigned to its nodes",
            "step: step 2 of 2: give v1 100 %",
            "weights: production: v1 100 %",
            "finished: Succeeded",
        ]


async def test_an_alias_set_by_hand_starts_its_versions_first(world: Platform) -> None:
    async with world.leading() as api:
        answer = await api.SetAlias(
            pb.SetAliasRequest(function=FUNCTION, name="staging", weights={1: 40, 3: 60}, why="a try")
        )
        assert dict(answer.weights) == {1: 40, 3: 60}
        assert {stored.value.version for stored in await world.store.endpoints.list(FUNCTION)} == {1, 3}
        assert await world.assigned("n1") == {1, 3}
        assert (await world.alias("staging")).history[-1].why == "a try"


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("7", {1: 100}, 'cannot be named "7"'),
        ("production", {1: 90}, "add up to 90; they must add up to 100"),
        ("production", {9: 100}, "no version 9"),
        ("production", {2: 100}, "does not even import"),
    ],
)
async def test_weights_that_make_no_sense_are_refused_and_change_nothing(
    world: Platform, name: str, weights: dict[int, int], said: str
) -> None:
    world.behaviour.broken[2] = "does not even import"
    async with world.leading() as api:
        with pytest.raises(Exception, match=said), wire.calling("the controller"):
            await api.SetAlias(pb.SetAliasRequest(function=FUNCTION, name=name, weights=weights))
        assert await world.store.aliases.list() == []


async def test_versions_that_were_started_for_weights_that_were_refused_are_taken_away(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        world.behaviour.broken[2] = "does not even import"
        with pytest.raises(Refused, match="does not even import"), wire.calling("the controller"):
            await api.SetAlias(pb.SetAliasRequest(function=FUNCTION, name="production", weights={1: 50, 2: 50}))
        await world.assigned_becomes("n1", {1})


async def test_an_alias_is_not_set_while_a_deployment_runs_on_it(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        name = await world.deploy(api, canary(2, seconds=60))
        with pytest.raises(Refused, match=name), wire.calling("the controller"):
            await api.SetAlias(pb.SetAliasRequest(function=FUNCTION, name="production", weights={1: 100}))


async def test_a_controller_that_does_not_lead_passes_weights_on_and_takes_deployments(world: Platform) -> None:
    async with world.leading("c1"), world.standing_by("c2") as other:
        await other.SetAlias(pb.SetAliasRequest(function=FUNCTION, name="staging", weights={1: 100}))
        assert (await world.alias("staging")).weights == {1: 100}
        assert (await world.deployed(other, all_at_once(2))).status is Status.SUCCEEDED


async def test_an_alias_that_somebody_made_before_the_first_shift_holds_the_deployment(world: Platform) -> None:
    world.hang("n1", 1)
    async with world.leading() as api:
        name = await world.deploy(api, all_at_once(1))
        await world.assigned_becomes("n1", {1})
        mine = Alias(function=FUNCTION, name="production", weights={3: 100})
        await world.store.transaction().create(mine).commit()
        held = await world.until(name, lambda it: it.status is Status.HELD)
        assert "was changed by somebody else" in held.reason


async def test_a_deployment_that_is_deleted_from_the_store_does_not_stop_the_next(world: Platform) -> None:
    async with world.leading() as api:
        await world.deployed(api, all_at_once(1))
        name = await world.deploy(api, canary(2, seconds=60))
        await in_first_phase(world, name)
        for stored in (await world.store.active.list())[:1]:
            deployment = await world.store.deployments.get(name)
            assert deployment
            await world.store.transaction().delete(stored).delete(deployment).commit()
        assert (await world.deployed(api, all_at_once(3))).status is Status.SUCCEEDED


async def test_a_version_that_an_alias_names_and_nobody_published_keeps_no_other_from_running(world: Platform) -> None:
    strange = Alias(function=FUNCTION, name="strange", weights={1: 50, 99: 50})
    await world.store.transaction().create(strange).commit()
    async with world.leading():
        await world.assigned_becomes("n1", {1})
