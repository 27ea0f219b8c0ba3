"""The events of a deployment over REST: the list, the stream, and resuming it anywhere."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from controller.api.rest import streaming
from controller.api.rest.listener import CLOSING
from tests.conditions import eventually
from tests.controller_platform import LIMIT
from tests.rest import Told, World, rest_at


def numbers(told: list[Told]) -> list[int]:
    return [event.data["number"] for event in told if event.kind == "message"]


async def test_the_stream_tells_all_that_the_list_has_and_ends_with_the_deployment(world: World) -> None:
    name = await world.deployed(1)
    listed = (await world.rest.get(f"/deployments/{name}/events")).made()["events"]
    told = await world.rest.told(name)
    assert [event.data for event in told[:-1]] == listed
    assert (told[-1].kind, told[-1].data["status"]) == ("ended", "Succeeded")
    assert [event["number"] for event in listed] == list(range(1, len(listed) + 1))


async def test_whoever_accepts_a_stream_is_given_one_at_the_path_of_the_list(world: World) -> None:
    name = await world.deployed(1)
    answer = await world.rest.get(f"/deployments/{name}/events", headers={"Accept": "text/event-stream"})
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.body.decode().count("\ndata: ") == len(await world.rest.told(name))


async def test_ids_are_revisions_and_only_the_last_event_of_a_revision_has_one(world: World) -> None:
    name = await world.deployed(1)
    told = [event for event in await world.rest.told(name) if event.kind == "message"]
    stored = await world.platform.store.events.list(name)
    for event, one, following in zip(told, stored, [*stored[1:], None], strict=True):
        last = following is None or following.mod_revision != one.mod_revision
        assert event.id == (str(one.mod_revision) if last else "")
    assert sum(1 for event in told if not event.id) > 0


async def test_a_stream_is_resumed_after_any_id_without_a_gap_or_a_repeat(world: World) -> None:
    name = await world.deployed(1)
    told = await world.rest.told(name)
    ids = [(at, event.id) for at, event in enumerate(told) if event.id]
    for at, identity in ids[:-1]:
        assert numbers(await world.rest.told(name, after=identity)) == numbers(told[at + 1 :])


async def test_after_the_last_event_there_is_nothing_to_come_back_for(world: World) -> None:
    name = await world.deployed(1)
    last = [event.id for event in await world.rest.told(name) if event.id][-1]
    answer = await world.rest.get(f"/deployments/{name}/events/stream", headers={"Last-Event-ID": last})
    assert (answer.status, answer.body) == (204, b"")


async def test_events_come_as_they_happen(world: World) -> None:
    await world.deployed(1)
    name = await world.running(2)
    async with asyncio.timeout(LIMIT), world.rest.stream(name) as stream:
        seen: list[Told] = []
        async for event in stream:
            assert isinstance(event, Told)
            seen.append(event)
            if event.kind == "message" and event.data["text"].startswith("step 3"):
                (await world.rest.post(f"/deployments/{name}/abort", json={"reason": "enough"})).made(202)
    assert any("enough" in event.data["text"] for event in seen if event.kind == "message")
    assert (seen[-1].kind, seen[-1].data["status"]) == ("ended", "Aborted")


async def test_a_second_controller_streams_too(world: World) -> None:
    name = await world.deployed(1)
    async with world.another() as other:
        assert await other.told(name) == await world.rest.told(name)


async def test_in_silence_a_comment_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT", 0.05)
    await world.deployed(1)
    name = await world.running(2)
    async with asyncio.timeout(LIMIT), world.rest.stream(name) as stream:
        beats = 0
        async for told in stream:
            beats += isinstance(told, str)
            if beats == 3:
                break


async def test_a_stream_is_cut_off_after_its_limit_and_can_be_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "STREAM_LIMIT", 2.0)
    await world.deployed(1)
    name = await world.running(2)
    told = await world.rest.told(name)
    assert told
    assert not [event for event in told if event.kind == "ended"]
    assert await world.rest.told(name, after=told[-1].id) == []


def following() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "next update"]


async def test_a_client_that_goes_away_leaves_nothing_behind(world: World) -> None:
    await world.deployed(1)
    name = await world.running(2)
    async with world.rest.stream(name) as stream:
        await anext(stream)
        await eventually(following)
    await eventually(lambda: not following())


async def test_a_controller_that_stops_ends_its_streams_at_once(world: World) -> None:
    await world.deployed(1)
    name = await world.running(2)
    clock = asyncio.get_running_loop().time
    async with AsyncExitStack() as stopping:
        other = await stopping.enter_async_context(world.another())
        async with rest_at(other.address) as client, client.stream(name) as stream:
            await anext(stream)
            began = clock()
            await stopping.aclose()
            assert clock() - began < CLOSING
            assert not [told async for told in stream if isinstance(told, Told) and told.kind == "ended"]


async def test_a_deployment_that_is_not_there_has_no_events(world: World) -> None:
    (await world.rest.get("/deployments/d-nothing/events")).problem(404)
    (await world.rest.get("/deployments/d-nothing/events/stream")).problem(404)
