"""The examples as their READMEs have them: published, deployed and invoked, with the input that they ship."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.stage import Stage, staged

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 60.0
"""Seconds for a visit of all the people, and for anything else."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("examples"), agents=1, workers=1) as stage:
        yield stage


async def deployed(stage: Stage, name: str) -> None:
    """Without what it requires: that is installed here, so that no index is needed."""
    folder = stage.folder / name
    shutil.copytree(EXAMPLES / name, folder)
    (folder / "requirements.txt").unlink(missing_ok=True)
    await stage.publish(folder)
    await stage.all_at_once(name, 1)


async def asked(stage: Stage, path: str, **options: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session:
        method = "POST" if options else "GET"
        async with session.request(method, stage.url(path), **options) as answer:
            return answer.status, await answer.text()


async def document(stage: Stage, path: str, **options: Any) -> Any:
    status, text = await asked(stage, path, **options)
    assert status == 200, text
    return json.loads(text)


async def test_distances_with_fastapi(stage: Stage) -> None:
    await deployed(stage, "distances")
    leg = await document(stage, "distances/distance/Berlin/Rome")
    assert leg == {"start": "Berlin", "end": "Rome", "km": pytest.approx(1182, abs=5)}
    # encoded: a place may have a space
    assert (await document(stage, "distances/distance/New%20York/London"))["km"] == pytest.approx(5570, abs=10)
    route = await document(stage, "distances/route", json={"places": ["Lisbon", "Paris", "Warsaw"]})
    assert route["km"] == pytest.approx(sum(leg["km"] for leg in route["legs"]))
    assert (await asked(stage, "distances/distance/Berlin/Atlantis"))[0] == 404
    assert (await asked(stage, "distances/route", json={"places": ["Berlin"]}))[0] == 422
    assert "/distance/{start}/{end}" in (await document(stage, "distances/openapi.json"))["paths"]


async def test_reading_ease_with_flask(stage: Stage) -> None:
    await deployed(stage, "reading-ease")
    texts = EXAMPLES / "reading-ease" / "texts"
    fable = await document(stage, "reading-ease/", data=(texts / "fable.txt").read_bytes())
    contract = await document(stage, "reading-ease/", data=(texts / "contract.txt").read_bytes())
    assert fable["ease"] > 80
    assert contract["ease"] < 0
    assert contract["sentences"] == 1
    form = aiohttp.FormData({"text": "It is easy. So it is."})
    assert (await document(stage, "reading-ease/", data=form))["words"] == 6
    assert "<textarea" in (await asked(stage, "reading-ease/"))[1]
    assert (await asked(stage, "reading-ease/", data=b"12345"))[0] == 400


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
async def test_a_csv_summary_with_node(stage: Stage) -> None:
    await deployed(stage, "csv-summary")
    summary = await document(stage, "csv-summary", data=(EXAMPLES / "csv-summary" / "planets.csv").read_bytes())
    assert summary["rows"] == 8
    columns = {column["name"]: column for column in summary["columns"]}
    assert columns["diameter (km)"] == {
        "name": "diameter (km)",
        "kind": "number",
        "filled": 8,
        "min": 4879,
        "max": 142984,
        "mean": pytest.approx(50087.125),
    }
    assert columns["kind"] == {"name": "kind", "kind": "text", "filled": 8, "distinct": 3}
    assert columns["note"] == {"name": "note", "kind": "text", "filled": 3, "distinct": 3}
    for wrong, said in (
        (b"a,b\n1\n", "row 2 has 1 fields, not 2"),
        (b'a\n"b', "has no end"),
        (b"a,b\n", "there is no row"),
    ):
        status, text = await asked(stage, "csv-summary", data=wrong)
        assert (status, said in text) == (400, True), text
    assert (await asked(stage, "csv-summary"))[0] == 405


async def test_a_static_site_with_a_line_of_shell(stage: Stage) -> None:
    await deployed(stage, "static-site")
    status, page = await asked(stage, "static-site/")
    assert (status, page) == (200, (EXAMPLES / "static-site" / "public" / "index.html").read_text())
    assert (await asked(stage, "static-site/style.css"))[0] == 200
    assert (await asked(stage, "static-site/hotswap.toml"))[0] == 404


async def test_two_recommendation_engines_are_compared_by_what_people_do(stage: Stage) -> None:
    example = EXAMPLES / "recommendation-engine"
    for version in ("v1", "v2"):
        await stage.publish(example / version)
    await stage.all_at_once("recommendation-engine", 1)
    begun = await stage.hotswap(
        *("deploy", "recommendation-engine", "2", "--strategy", "ab-testing"),
        *("--config", str(example / "ab-test.json"), "-o", "json"),
    )
    test = begun.json["id"]
    async with asyncio.timeout(LIMIT):
        while (await stage.hotswap("compare", test, code=None)).code:
            pass
    await visited(stage)
    async with asyncio.timeout(LIMIT):
        while users(table := (await stage.hotswap("compare", test, "-o", "json")).json) < 350:
            pass
    metrics = {metric["metric"]: metric for metric in table["metrics"]}
    assert all(0 < value < 1 for value in metrics["userEngagement"]["values"].values())
    assert all(0 < value < 1 for value in metrics["conversionRate"]["values"].values())
    assert set(metrics["errorRate"]["values"].values()) == {0}
    await stage.hotswap("abort", test)


def users(table: Any) -> int:
    return int(sum(table["units"].values()))


async def visited(stage: Stage) -> None:
    script = EXAMPLES / "recommendation-engine" / "visit.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), f"http://{stage.platform.router}", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    assert (process.returncode, out) == (0, b"400 people came\n")
