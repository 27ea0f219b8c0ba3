"""`hotswap logs`: what functions print on all nodes, and how it is found again."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.functions import write_function
from tests.rest import Told, rest_at
from tests.stage import Stage, staged

LIMIT = 60.0
"""Seconds."""
TALKER = """
    import json, logging, os, sys

    logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
    print("{label} is loaded")

    def handler(request, context):
        event = json.loads(request["body"])
        print("got", event["said"])
        logging.info("logged %s", event["said"])
        print(json.dumps({{"said": event["said"]}}))
        if event.get("die"):
            os.abort()
        return context.aws_request_id
"""
PROGRAM = """
    import http.server, os

    class Talker(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            print("the program got", self.path)
            self.send_response(200)
            self.end_headers()

    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Talker).serve_forever()
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("logs")) as stage:
        yield stage


async def talker(stage: Stage, name: str, *labels: str) -> None:
    """A version for each label, the last of which has the traffic."""
    for number, label in enumerate(labels, start=1):
        await stage.publish(write_function(stage.folder / name / label, TALKER, name=name, label=label))
        await stage.all_at_once(name, number)


async def say(stage: Stage, name: str, said: str, **more: object) -> str:
    """The id of the request."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(stage.url(name), json={"said": said, **more}) as answer,
    ):
        return answer.headers["Hotswap-Request-Id"]


async def read(stage: Stage, *arguments: str) -> list[Any]:
    answer = await stage.hotswap("logs", *arguments, "-o", "json")
    return [json.loads(line) for line in answer.out.splitlines()]


async def until_told(stage: Stage, text: str, *arguments: str) -> Any:
    async with asyncio.timeout(LIMIT):
        while True:
            for line in await read(stage, *arguments):
                if text in line["text"]:
                    return line


async def test_a_line_is_found_by_the_invocation_that_printed_it(stage: Stage) -> None:
    await talker(stage, "finder", "one")
    first, _ = [await say(stage, "finder", said) for said in ("this", "that")]
    lines = await read(stage, "finder", "--request", first)
    assert [line["text"] for line in lines] == ["got this", "logged this", '{"said": "this"}']
    assert {(line["version"], line["request"]) for line in lines} == {(1, first)}
    shown = (await stage.hotswap("logs", "finder")).out
    assert f"{first}  got this" in shown
    assert "one is loaded" in shown
    assert "\x1b" not in shown


async def test_rest_tells_what_is_kept_and_streams_what_comes_and_goes_on_where_it_was(stage: Stage) -> None:
    await talker(stage, "told", "one")
    first = await say(stage, "told", "this")
    async with rest_at(stage.platform.rest, Authorization=f"Bearer {stage.platform.token}") as rest:
        found = (await rest.get(f"/functions/told/logs?qualifier=1&request={first}")).made()
        assert [line["text"] for line in found["lines"]] == ["got this", "logged this", '{"said": "this"}']
        assert found["missing"] == []
        assert not (await rest.get("/functions/told/logs?since=2100-01-01T00:00:00Z")).made()["lines"]
        async with asyncio.timeout(LIMIT), rest.stream_at("/functions/told/logs?tail=1") as told:
            kept = await until_streamed(told, '{"said": "this"}')
            await say(stage, "told", "that")
            await until_streamed(told, '{"said": "that"}')
        async with asyncio.timeout(LIMIT), rest.stream_at("/functions/told/logs", **{"Last-Event-ID": kept.id}) as told:
            assert (await until_streamed(told, "")).data["text"] == "got that"
        (await rest.get("/functions/nobody/logs")).problem(404)
        (await rest.get("/functions/told/logs?qualifier=7", headers={"Accept": "text/event-stream"})).problem(404)
        (await rest.get("/functions/told/logs?tail=10001")).problem(400)


async def until_streamed(told: AsyncIterator[Told | str], text: str) -> Told:
    async for one in told:
        if isinstance(one, Told) and text in one.data["text"]:
            return one
    raise AssertionError(f"the stream ends without {text!r}")


async def test_a_qualifier_chooses_versions_and_tail_the_last_lines(stage: Stage) -> None:
    await talker(stage, "chooser", "one", "two")
    await say(stage, "chooser", "last")
    assert {line["version"] for line in await read(stage, "chooser")} == {1, 2}
    assert {line["version"] for line in await read(stage, "chooser:1")} == {1}
    assert {line["version"] for line in await read(stage, "chooser:production")} == {2}
    assert [line["text"] for line in await read(stage, "chooser", "--tail", "1")] == ['{"said": "last"}']
    every = await read(stage, "chooser")
    assert [line["at"] for line in every] == sorted(line["at"] for line in every)
    refused = await stage.hotswap("logs", "chooser:7", code=1)
    assert "its versions are: 1, 2" in refused.err


async def test_the_last_lines_before_a_crash_are_kept_with_its_cause(stage: Stage) -> None:
    await talker(stage, "crasher", "one")
    await say(stage, "crasher", "farewell", die=True)
    end = await until_told(stage, "SIGABRT", "crasher")
    assert end["platform"]
    lines = [line for line in await read(stage, "crasher") if line["instance"] == end["instance"]]
    assert [line["text"] for line in lines][-2:] == ['{"said": "farewell"}', end["text"]]
    figures = (await stage.hotswap("metrics", "crasher", "-o", "json")).json
    assert [(one["cause"], one["instance"]) for one in figures["incidents"]] == [("signal", end["instance"])]


async def test_what_a_program_prints_has_a_time_and_no_invocation(stage: Stage) -> None:
    folder = stage.folder / "program"
    write_function(folder, PROGRAM, name="program")
    (folder / "hotswap.toml").write_text(
        'function = "program"\nkind = "http"\nentrypoint = ["python3", "-u", "app.py"]\n'
    )
    await stage.publish(folder)
    await stage.all_at_once("program", 1)
    await say(stage, "program/path", "this")
    line = await until_told(stage, "the program got /path", "program", "--since", "10m")
    assert line["request"] == ""


async def test_following_tells_what_comes_from_all_nodes_until_it_is_interrupted(stage: Stage) -> None:
    await talker(stage, "followed", "one")
    following = await stage.begin("logs", "followed", "-f", "-o", "json")
    assert following.stdout is not None
    try:
        nodes: set[str] = set()
        async with asyncio.timeout(LIMIT):
            while len(nodes) < 2:
                request = await say(stage, "followed", "more")
                while (line := json.loads(await following.stdout.readline()))["request"] != request:
                    pass
                nodes.add(line["node"])
    finally:
        following.send_signal(signal.SIGINT)
        await following.communicate()
    assert following.returncode == 130


async def test_a_node_that_does_not_answer_is_named_and_holds_up_nobody(stage: Stage) -> None:
    await talker(stage, "held", "one")
    pid = stage.platform.pids["node-2"]
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = await stage.hotswap("logs", "held")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert 'not in it: the agent of node "node-2"' in answer.err
    assert "one is loaded" in answer.out
