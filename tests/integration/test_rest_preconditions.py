"""`If-Match`: what a caller decided on an older state is not written."""

import asyncio

import pytest

from tests.controller_platform import FUNCTION
from tests.rest import Reply, Rest, World

PRODUCTION = f"/functions/{FUNCTION}/aliases/production"


async def weigh(rest: Rest, version: int, tag: str) -> Reply:
    return await rest.put(PRODUCTION, json={"weights": {str(version): 100}}, headers={"If-Match": tag})


async def test_weights_are_set_on_what_was_read_and_the_answer_has_the_next_tag(world: World) -> None:
    await world.deployed(1)
    read = await world.rest.get(PRODUCTION)
    written = await weigh(world.rest, 2, read.tag)
    assert written.made()["weights"] == {"2": 100}
    assert written.tag == (await world.rest.get(PRODUCTION)).tag != read.tag
    assert (await weigh(world.rest, 3, written.tag)).made()["weights"] == {"3": 100}


@pytest.mark.parametrize("leads", [True, False])
async def test_on_what_has_changed_since_nothing_is_written(world: World, *, leads: bool) -> None:
    await world.deployed(1)
    read = await world.rest.get(PRODUCTION)
    (await weigh(world.rest, 2, read.tag)).made()
    stands = await world.platform.store.aliases.list()
    async with world.another() as other:
        problem = (await weigh(world.rest if leads else other, 3, read.tag)).problem(412)
    assert "stands at revision" in problem["detail"]
    assert await world.platform.store.aliases.list() == stands


async def test_of_two_who_read_the_same_one_writes(world: World) -> None:
    await world.deployed(1)
    tag = (await world.rest.get(PRODUCTION)).tag
    async with world.another() as other:
        answers = await asyncio.gather(weigh(world.rest, 2, tag), weigh(other, 3, tag))
    assert sorted(answer.status for answer in answers) == [200, 412]


async def test_an_alias_that_is_not_there_matches_nothing(world: World) -> None:
    (await weigh(world.rest, 1, '"1"')).problem(412)
    assert not await world.platform.store.aliases.list()


@pytest.mark.parametrize("tag", ['W/"{revision}"', '"0{revision}"', '"x"', '""', f'"{2**70}"'])
async def test_a_tag_that_is_weak_or_none_of_ours_matches_nothing(world: World, tag: str) -> None:
    await world.deployed(1)
    revision = (await world.rest.get(PRODUCTION)).tag.strip('"')
    (await weigh(world.rest, 2, tag.format(revision=revision))).problem(412)


@pytest.mark.parametrize("tag", ["", "12", "*", '"1", "2"', '"1'])
async def test_what_is_no_tag_is_refused(world: World, tag: str) -> None:
    assert "If-Match" in (await weigh(world.rest, 1, tag)).problem(400)["detail"]


async def test_a_verb_is_asked_of_the_record_that_was_read(world: World) -> None:
    await world.deployed(1)
    name = await world.running(2)
    read = await world.rest.get(f"/deployments/{name}")
    stale = await world.rest.post(f"/deployments/{name}/abort", headers={"If-Match": '"1"'})
    assert f"hotswap status {name}" in stale.problem(412)["hint"]
    assert (await world.rest.get(f"/deployments/{name}")).tag == read.tag
    (await world.rest.post(f"/deployments/{name}/abort", headers={"If-Match": read.tag})).made(202)
    (await world.rest.post(f"/deployments/{name}/rollback", headers={"If-Match": read.tag})).problem(412)
