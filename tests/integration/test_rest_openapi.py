"""The OpenAPI document describes the server as it is: by comparison, and by requests that are made from it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from controller.api.rest import streaming
from controller.api.rest.route import PREFIX
from controller.api.rest.routes import ROUTES
from hotswap.deployment import Verb
from hotswap.memory import MemoryKV
from hotswap.model import encode
from hotswap.requests import STRATEGIES
from tests.controller_platform import FUNCTION, Platform, canary
from tests.rest import World, rest_at
from tests.rest_fuzzing import STREAMED, fuzz


async def described(folder: Path) -> Any:
    async with Platform(MemoryKV(), folder).resting() as address, rest_at(address) as rest:
        return (await rest.get("/openapi.json")).made()


async def test_every_route_is_described_once(tmp_path: Path) -> None:
    document = await described(tmp_path)
    operations = [(path, method) for path, item in document["paths"].items() for method in item]
    assert sorted(operations) == sorted((route.path, route.method.lower()) for route in ROUTES)
    names = [item[method]["operationId"] for item in document["paths"].values() for method in item]
    assert len(set(names)) == len(names)
    assert document["servers"] == [{"url": PREFIX}]


async def test_every_verb_that_a_deployment_knows_has_a_path(tmp_path: Path) -> None:
    paths = (await described(tmp_path))["paths"]
    assert {f"/deployments/{{deployment}}/{verb}" for verb in Verb} <= set(paths)


async def test_the_body_of_a_deployment_is_described_for_every_strategy(tmp_path: Path) -> None:
    document = await described(tmp_path)
    body = document["paths"]["/deployments"]["post"]["requestBody"]["content"]["application/json"]
    assert set(body["schema"]["discriminator"]["mapping"]) == set(STRATEGIES)
    schema = {**body["schema"], "components": document["components"]}
    jsonschema.validate(body["example"], schema)
    jsonschema.validate({"functionName": FUNCTION, "version": 1, "strategy": "AllAtOnce"}, schema)


async def test_every_reference_leads_somewhere(tmp_path: Path) -> None:
    document = await described(tmp_path)

    def references(part: Any) -> list[str]:
        if isinstance(part, list):
            return [found for one in part for found in references(one)]
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + [found for one in part.values() for found in references(one)]
        return []

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known


async def test_a_request_of_the_model_fits_its_description(tmp_path: Path) -> None:
    document = await described(tmp_path)
    body = document["paths"]["/deployments"]["post"]["requestBody"]["content"]["application/json"]
    request = jsonschema.Draft202012Validator({**body["schema"], "components": document["components"]})
    request.validate(json.loads(encode(canary(2))))


async def test_no_request_that_is_made_from_the_document_finds_a_fault(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "STREAM_LIMIT", STREAMED)
    code, report = await fuzz(world, tmp_path, examples=8, seed=1)
    assert code == 0, report
    assert f"{len(ROUTES)} selected" in report
