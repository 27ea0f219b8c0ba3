"""A mutation that is sent again under its key is made once, whichever controller is asked and whoever has gone."""

import asyncio
from typing import Any

from hotswap.mirror import mirrored
from tests.controller_platform import FUNCTION, LIMIT
from tests.rest import Reply, Rest, World

PRODUCTION = f"/functions/{FUNCTION}/aliases/production"
REPLAYED = "Idempotency-Replayed"


def all_at_once(version: int) -> dict[str, Any]:
    return {"functionName": FUNCTION, "version": version, "strategy": "AllAtOnce"}


async def deploy(rest: Rest, version: int, key: str, **headers: str) -> Reply:
    return await rest.post("/deployments", json=all_at_once(version), headers={"Idempotency-Key": key, **headers})


async def test_the_same_request_again_is_given_the_same_answer_and_nothing_is_done_twice(world: World) -> None:
    first = await deploy(world.rest, 1, "k")
    await world.platform.ended(first.made(201)["id"])
    again = await deploy(world.rest, 1, "k")
    assert (again.status, again.body, again.headers["Location"]) == (201, first.body, first.headers["Location"])
    assert (REPLAYED in first.headers, again.headers[REPLAYED]) == (False, "true")
    assert len(await world.platform.store.deployments.list()) == 1


async def test_another_controller_gives_the_same_answer(world: World) -> None:
    first = await deploy(world.rest, 1, "k")
    async with world.another() as other:
        assert (await deploy(other, 1, "k")).body == first.body


async def test_a_refusal_is_an_answer_too(world: World) -> None:
    await world.deployed(1)
    first = await deploy(world.rest, 1, "k")
    first.problem(409)
    await world.deployed(2)
    again = await deploy(world.rest, 1, "k")
    assert (again.status, again.body) == (409, first.body)


async def test_the_key_with_another_request_is_refused(world: World) -> None:
    await deploy(world.rest, 1, "k")
    assert "another request" in (await deploy(world.rest, 2, "k")).problem(422)["detail"]
    headers = {"Idempotency-Key": "k"}
    (await world.rest.put(PRODUCTION, json={"weights": {"1": 100}}, headers=headers)).problem(422)


async def test_each_caller_has_keys_of_its_own(world: World) -> None:
    first = await deploy(world.rest, 1, "k", **{"Hotswap-Who": "ada"})
    await world.platform.ended(first.made(201)["id"])
    other = await deploy(world.rest, 2, "k", **{"Hotswap-Who": "bob"})
    assert other.made(201)["who"] == "bob"


async def test_a_request_that_is_wrong_in_form_takes_no_key(world: World) -> None:
    headers = {"Idempotency-Key": "k"}
    (await world.rest.post("/deployments", json={"version": 1}, headers=headers)).problem(400)
    (await deploy(world.rest, 1, "k")).made(201)


async def test_of_many_at_once_at_two_controllers_one_is_made_and_the_others_have_its_answer_or_wait(
    world: World,
) -> None:
    async with world.another() as other:
        answers = await asyncio.gather(*(deploy(rest, 1, "k") for rest in [world.rest, other] * 5))
        made = [answer for answer in answers if answer.status == 201]
        assert len({answer.body for answer in made}) == 1
        for answer in answers:
            if answer.status != 201:
                assert "is being answered" in answer.problem(409)["detail"]
                assert int(answer.headers["Retry-After"]) > 0
        assert (await deploy(other, 1, "k")).body == made[0].body
    assert len(await world.platform.store.deployments.list()) == 1


async def test_while_the_first_is_being_answered_the_same_again_is_told_to_wait(world: World) -> None:
    await world.deployed(1)
    world.platform.behaviour.deaf_routers = True
    headers = {"Idempotency-Key": "k"}
    body = {"weights": {"2": 100}}
    first = asyncio.create_task(world.rest.put(PRODUCTION, json=body, headers=headers))
    await claimed(world)
    (await world.rest.put(PRODUCTION, json=body, headers=headers)).problem(409)
    world.platform.behaviour.deaf_routers = False
    (await first).made()
    assert (await world.rest.put(PRODUCTION, json=body, headers=headers)).body == (await first).body


async def test_a_mutation_is_made_to_its_end_when_its_caller_goes_away(world: World) -> None:
    await world.deployed(1)
    world.platform.behaviour.deaf_routers = True
    headers = {"Idempotency-Key": "k"}
    body = {"weights": {"2": 100}}
    caller = asyncio.create_task(world.rest.put(PRODUCTION, json=body, headers=headers))
    await claimed(world)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    world.platform.behaviour.deaf_routers = False
    async with asyncio.timeout(LIMIT), mirrored(world.platform.store.answers) as answers:
        await answers.until(lambda known: any(it.value.status == 200 for it in known))
    assert (await world.platform.alias()).weights == {2: 100}
    assert (await world.rest.put(PRODUCTION, json=body, headers=headers)).headers[REPLAYED] == "true"


async def claimed(world: World) -> None:
    async with asyncio.timeout(LIMIT), mirrored(world.platform.store.answers) as answers:
        await answers.until(len)
