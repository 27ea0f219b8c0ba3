"""What REST shows and does, over a real socket and a real etcd; nodes and routers are scripted."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hotswap import archive
from hotswap.deployment import Verb
from hotswap.settings import EtcdSettings
from tests.agent_harness import until
from tests.controller_platform import FUNCTION, Platform
from tests.functions import write_function
from tests.rest import World, connected, rest_at

GZIP = {"Content-Type": "application/gzip"}
PRODUCTION = f"/functions/{FUNCTION}/aliases/production"
GUIDE = {
    "functionName": FUNCTION,
    "version": 2,
    "strategy": "Canary",
    "config": {
        "canaryPercentage": 10,
        "canaryDuration": "PT10M",
        "canaryIncrements": [10, 50, 100],
        "rollbackOnErrorRate": 0.05,
        "rollbackOnLatencyP99": 1000,
        "rollbackOnSuccessRate": 0.95,
    },
}
"""The guide's configuration as it stands there."""


def packed(folder: Path, code: str = "def handler(event, context): return 1", *, name: str = "greeter") -> bytes:
    write_function(folder / "source", code, name=name)
    archive.build(folder / "source", folder / "packed.tar.gz")
    return (folder / "packed.tar.gz").read_bytes()


async def test_functions_are_listed_and_read_with_their_aliases(world: World) -> None:
    await world.deployed(1)
    [function] = (await world.rest.get("/functions")).made()["functions"]
    assert (function["name"], function["lastVersion"]) == (FUNCTION, 3)
    assert function["aliases"][0]["weights"] == {"1": 100}
    assert (await world.rest.get(f"/functions/{FUNCTION}")).made() == function
    assert "writeId" not in str(function)


async def test_versions_are_listed_in_order_and_read_one_by_one(world: World) -> None:
    versions = (await world.rest.get(f"/functions/{FUNCTION}/versions")).made()["versions"]
    assert [version["number"] for version in versions] == [1, 2, 3]
    assert (await world.rest.get(f"/functions/{FUNCTION}/versions/2")).made() == versions[1]
    problem = (await world.rest.get(f"/functions/{FUNCTION}/versions/9")).problem(404)
    assert problem["hint"] == "its versions are: 1, 2, 3"


async def test_a_head_request_gets_the_head_of_the_answer(world: World) -> None:
    answer = await world.rest.send("HEAD", "/functions")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len((await world.rest.get("/functions")).body)


async def test_an_archive_is_published_by_itself_and_the_same_again_is_the_same_version(
    world: World, tmp_path: Path
) -> None:
    content = packed(tmp_path)
    headers = {**GZIP, "Hotswap-Who": "ada"}
    answer = await world.rest.post("/functions/greeter/versions", data=content, headers=headers)
    version = answer.made(201)
    assert answer.headers["Location"] == "/api/v1/functions/greeter/versions/1"
    assert (version["number"], version["artifact"], version["who"]) == (1, hashlib.sha256(content).hexdigest(), "ada")
    assert (await world.rest.get("/functions/greeter/versions/1")).made() == version
    assert (await world.rest.post("/functions/greeter/versions", data=content, headers=GZIP)).made(201) == version
    other = packed(tmp_path, "def handler(event, context): return 2")
    assert (await world.rest.post("/functions/greeter/versions", data=other, headers=GZIP)).made(201)["number"] == 2


async def test_an_archive_is_taken_in_chunks_too(world: World, tmp_path: Path) -> None:
    content = packed(tmp_path)

    async def pieces() -> object:
        for begin in range(0, len(content), 100):
            yield content[begin : begin + 100]

    answer = await world.rest.post("/functions/greeter/versions", data=pieces(), headers=GZIP)
    assert answer.made(201)["size"] == len(content)


async def test_an_archive_that_was_cut_off_is_gone_on_with(world: World, tmp_path: Path) -> None:
    content = packed(tmp_path)
    digest, path = hashlib.sha256(content).hexdigest(), "/functions/greeter/versions"
    announced = {"sha256": digest, "size": str(len(content))}

    async def beginning() -> AsyncIterator[bytes]:
        yield content[:100]
        await until(arrived)
        raise ConnectionError("cut off")

    async def arrived() -> bool:
        return bool((await world.rest.get(f"/functions/greeter/uploads/{digest}")).made()["received"] == 100)

    with pytest.raises(aiohttp.ClientError):
        await world.rest.post(path, data=beginning(), headers=GZIP, params=announced)
    assert (await world.rest.get(f"/functions/greeter/uploads/{digest}")).made() == {"received": 100, "version": 0}
    rest = await world.rest.post(path, data=content[100:], headers=GZIP, params=announced | {"offset": "100"})
    assert rest.made(201)["artifact"] == digest
    found = (await world.rest.get(f"/functions/greeter/uploads/{digest}")).made()
    assert found == {"received": len(content), "version": 1}


async def test_an_archive_that_is_announced_wrongly_is_refused_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    content = packed(tmp_path)
    for announced, sent, said in (
        ({"sha256": "0" * 64}, content, "by its sha256 and its size"),
        ({"sha256": "0" * 64, "size": "100"}, b"x" * 100, "not a whole .tar.gz"),
        ({"sha256": "0" * 64, "size": str(len(content))}, content, "is not the one announced"),
        ({"sha256": "0" * 64, "size": "100"}, b"x" * 99, "ended after 99"),
        ({"sha256": "0" * 64, "size": "100"}, b"x" * 101, "more than the 100 bytes"),
        ({"sha256": "no digest", "size": "100"}, b"x" * 100, "is not a sha256"),
    ):
        answer = await world.rest.post("/functions/greeter/versions", data=sent, headers=GZIP, params=announced)
        assert said in answer.problem(400)["detail"]
        assert list((world.platform.folder / "artifacts").glob("*")) == []


async def test_what_cannot_be_published_is_refused_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    write_function(tmp_path / "source", "x = 1")
    (tmp_path / "source" / "hotswap.toml").unlink()
    archive.build(tmp_path / "source", tmp_path / "bare.tar.gz")
    bare = (tmp_path / "bare.tar.gz").read_bytes()
    for content, said in (
        (packed(tmp_path), 'is of the function "greeter"'),
        (bare, "has no hotswap.toml"),
        (b"no archive at all", "not a whole .tar.gz"),
        (b"", "not a whole .tar.gz"),
    ):
        answer = await world.rest.post("/functions/other/versions", data=content, headers=GZIP)
        assert said in answer.problem(400)["detail"]
    (await world.rest.get("/functions/other")).problem(404)
    assert list((world.platform.folder / "artifacts").glob("*")) == []


async def test_weights_are_set_by_hand_with_who_and_why(world: World) -> None:
    await world.deployed(1)
    body = {"weights": {"1": 90, "2": 10}, "reason": "a look"}
    alias = (await world.rest.put(PRODUCTION, json=body, headers={"Hotswap-Who": "ada"})).made()
    assert alias["weights"] == {"1": 90, "2": 10}
    assert (alias["history"][-1]["who"], alias["history"][-1]["why"]) == ("ada", "a look")
    assert (await world.rest.get(PRODUCTION)).made() == alias
    assert (await world.rest.get(f"/functions/{FUNCTION}/aliases")).made() == {"aliases": [alias]}
    assert (await world.platform.alias()).weights == {1: 90, 2: 10}


async def test_weights_are_set_at_a_controller_that_does_not_lead(world: World) -> None:
    async with world.another() as other:
        alias = (await other.put(PRODUCTION, json={"weights": {"2": 100}}, headers={"Hotswap-Who": "ada"})).made()
    assert (alias["weights"], alias["history"][-1]["who"]) == ({"2": 100}, "ada")
    assert (await world.platform.alias()).weights == {2: 100}


@pytest.mark.parametrize(
    ("weights", "status", "said"),
    [
        ({"1": 90}, 400, "add up to 90"),
        ({}, 400, "has no weights"),
        ({"1": 50, "9": 50}, 404, "no version 9"),
        ({"x": 100}, 400, "a key"),
        ({"1": 101}, 400, "0 to 100"),
    ],
)
async def test_weights_that_make_no_sense_are_refused(
    world: World, weights: dict[str, int], status: int, said: str
) -> None:
    problem = (await world.rest.put(PRODUCTION, json={"weights": weights})).problem(status)
    assert said in problem["detail"]


async def test_the_guides_request_as_it_stands_begins_a_deployment(world: World) -> None:
    await world.deployed(1)
    answer = await world.rest.post("/deployments", json=GUIDE, headers={"Hotswap-Who": "ada"})
    begun = answer.made(201)
    assert answer.headers["Location"] == f"/api/v1/deployments/{begun['id']}"
    assert begun["request"]["config"]["canaryIncrements"] == [10, 50, 100]
    assert (begun["strategy"], begun["version"], begun["stable"], begun["who"]) == ("Canary", 2, 1, "ada")
    assert begun["next"] == [f"hotswap {verb} {begun['id']}" for verb in ("rollback", "abort", "pause")]
    shown = (await world.rest.get(f"/deployments/{begun['id']}")).made()
    assert (shown["id"], shown["plan"]) == (begun["id"], begun["plan"])


async def test_deployments_are_listed_newest_first_and_filtered(world: World) -> None:
    first = await world.deployed(1)
    second = await world.running(2)

    async def listed(query: str) -> list[str]:
        return [it["id"] for it in (await world.rest.get(f"/deployments{query}")).made()["deployments"]]

    assert await listed("") == [second, first]
    assert await listed("?running=true") == [second]
    assert await listed("?limit=1") == [second]
    assert await listed(f"?function={FUNCTION}&running=false") == [second, first]
    assert await listed("?function=other") == []


async def test_a_deployment_is_asked_to_end_with_a_reason(world: World) -> None:
    await world.deployed(1)
    name = await world.running(2)
    path = f"/deployments/{name}/rollback"
    asked = (await world.rest.post(path, json={"reason": "a complaint"}, headers={"Hotswap-Who": "ada"})).made(202)
    assert (asked["asked"]["verb"], asked["asked"]["who"], asked["asked"]["why"]) == ("rollback", "ada", "a complaint")
    (await world.rest.post(path)).made(202)
    await world.platform.ended(name)
    assert (await world.rest.get(f"/deployments/{name}")).made()["status"] == "RolledBack"


async def test_a_verb_needs_no_body(world: World) -> None:
    await world.deployed(1)
    name = await world.running(2)
    assert (await world.rest.post(f"/deployments/{name}/abort")).made(202)["asked"]["why"] == ""


@pytest.mark.parametrize("verb", Verb)
async def test_a_verb_is_refused_where_there_is_nothing_to_do_or_nothing_at_all(world: World, verb: Verb) -> None:
    (await world.rest.post(f"/deployments/d-nothing/{verb}")).problem(404)
    name = await world.deployed(1)
    problem = (await world.rest.post(f"/deployments/{name}/{verb}")).problem(409)
    assert "hotswap " in problem["hint"]


async def test_a_winner_is_named_only_where_versions_were_compared(world: World) -> None:
    await world.deployed(1)
    name = await world.running(2)
    body = {"winningVersion": 2, "reason": "v2 shows 2.8% conversion rate vs 2.5% for v1"}
    problem = (await world.rest.post(f"/deployments/{name}/promote", json=body)).problem(409)
    assert "cannot be won by version 2: it is no test" in problem["detail"]


async def test_only_the_versions_of_a_test_are_compared(world: World) -> None:
    (await world.rest.get("/deployments/d-nothing/comparison")).problem(404)
    await world.deployed(1)
    name = await world.running(2)
    problem = (await world.rest.get(f"/deployments/{name}/comparison")).problem(409)
    assert "is no test" in problem["detail"]


async def test_outcomes_are_taken_once_each(world: World) -> None:
    await world.deployed(1)
    revision = int((await world.rest.get(PRODUCTION)).headers["ETag"].strip('"'))
    order = {"id": "order-1", "requestId": f"f00-1.{revision}", "metrics": {"conversion": 1, "revenue": 12.5}}
    path, told = f"/functions/{FUNCTION}/outcomes", {"outcomes": [order, {**order, "id": "order-2"}]}
    assert (await world.rest.post(path, json=told)).made() == {"counted": 2, "repeated": 0}
    assert (await world.rest.post(path, json=told)).made() == {"counted": 0, "repeated": 2}
    problem = (await world.rest.post(path, json={"outcomes": [{**order, "requestId": "chosen"}]})).problem(400)
    assert 'the id "chosen" does not say to which version its request went' in problem["detail"]
    problem = (await world.rest.post(path, json={"outcomes": [{**order, "metrics": {}}]})).problem(400)
    assert "metrics" in problem["detail"]


async def test_a_second_deployment_on_an_alias_is_refused_with_the_command_that_would_work(world: World) -> None:
    await world.deployed(1)
    name = await world.running(2)
    problem = (await world.rest.post("/deployments", json={**GUIDE, "version": 3})).problem(409)
    assert f"hotswap abort {name}" in problem["hint"]


async def test_the_platform_is_shown_whole_and_in_parts(world: World) -> None:
    platform = (await world.rest.get("/platform")).made()
    assert [node["name"] for node in platform["nodes"]] == ["n1", "n2"]
    assert (await world.rest.get("/nodes")).made() == {"nodes": platform["nodes"]}
    assert (await world.rest.get("/routers")).made() == {"routers": platform["routers"]}
    assert (await world.rest.get("/leader")).made() == platform["leader"]
    assert platform["leader"]["rest"] == world.rest.address


async def test_without_a_leader_everything_is_read_and_only_weights_have_to_wait(
    etcd: EtcdSettings, tmp_path: Path
) -> None:
    async with connected(etcd) as kv:
        platform = Platform(kv, tmp_path)
        await platform.publish(1)
        async with platform.resting() as address, rest_at(address) as rest:
            assert (await rest.get("/platform")).made()["leader"] is None
            (await rest.get("/functions")).made()
            for answer in (await rest.get("/leader"), await rest.put(PRODUCTION, json={"weights": {"1": 100}})):
                assert "no controller leads" in answer.problem(503)["detail"]
                assert int(answer.headers["Retry-After"]) > 0
