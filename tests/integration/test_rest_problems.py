"""Whatever goes wrong is answered by a problem document, and nothing that a caller sends is a fault of ours."""

import asyncio
import io
import json
import logging
from typing import Any

import pytest

from controller.api.rest import reading
from controller.service import Service
from hotswap.etcd.local import LocalEtcd
from hotswap.memory import MemoryKV
from hotswap.settings import EtcdSettings
from tests.controller_platform import FUNCTION, Platform
from tests.rest import PROBLEM, World, connected, rest_at

PRODUCTION = f"/functions/{FUNCTION}/aliases/production"
JSON = {"Content-Type": "application/json"}
DEEP = "[" * 100_000
LARGE = io.BytesIO(b" " * (reading.LARGEST_DOCUMENT + 1))


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "said"),
    [
        ("GET", "/nothing", {}, 404, "nothing at this path"),
        ("GET", "/functions/", {}, 404, "nothing at this path"),
        ("GET", "/functions/nothing", {}, 404, 'no function "nothing"'),
        ("GET", "/functions/Not_A_Name", {}, 400, "not a name for a function"),
        ("GET", "/functions/a%2Fb", {}, 400, "not a name for a function"),
        ("GET", f"/functions/{FUNCTION}/versions/x", {}, 400, '"version" is "x"'),
        ("GET", f"/functions/{FUNCTION}/versions/0", {}, 400, "a whole number from 1"),
        ("GET", f"/functions/{FUNCTION}/versions/{10**30}", {}, 400, "a whole number from 1"),
        ("GET", f"/functions/{FUNCTION}/aliases/12", {}, 400, "names of digits alone mean versions"),
        ("GET", f"/functions/{FUNCTION}/aliases/staging", {}, 404, 'no alias "staging"'),
        ("GET", "/deployments/d-nothing", {}, 404, "no deployment d-nothing"),
        ("GET", "/deployments?state=x", {}, 400, 'no parameter "state"'),
        ("GET", "/functions?x", {}, 400, 'no parameter "x"'),
        ("GET", "/deployments?limit=0", {}, 400, "from 1 to 1000"),
        ("GET", "/deployments?limit=ten", {}, 400, "from 1 to 1000"),
        ("GET", "/deployments?running=yes", {}, 400, "true or false"),
        ("GET", "/deployments?limit=1&limit=2", {}, 400, "given twice"),
        ("GET", f"/functions/{FUNCTION}?function=other", {}, 400, "given twice"),
        ("DELETE", "/functions", {}, 405, "DELETE"),
        ("POST", "/deployments", {"data": "{", "headers": JSON}, 400, "is not JSON"),
        ("POST", "/deployments", {"data": b"\xff", "headers": JSON}, 400, "is not JSON"),
        ("POST", "/deployments", {"data": DEEP, "headers": JSON}, 400, "the body"),
        ("POST", "/deployments", {"data": "", "headers": JSON}, 400, "is not JSON"),
        ("POST", "/deployments", {"json": []}, 400, "it must be an object"),
        ("POST", "/deployments", {"json": {"strategy": "Canari"}}, 400, "strategy"),
        ("POST", "/deployments", {"json": {"strategy": "Canary", "version": "6"}}, 400, '"version" is "6"'),
        ("PUT", PRODUCTION, {"json": {"weights": {"1": 100}, "weight": 1}}, 400, 'no field "weight"'),
        ("PUT", PRODUCTION, {"data": "weights=1"}, 415, "application/json"),
        ("PUT", PRODUCTION, {"data": b"{}", "headers": {"Content-Type": "text/json"}}, 415, "application/json"),
        ("PUT", PRODUCTION, {"data": b"{}", "headers": {"Content-Type": "application/json;charset=latin-1"}}, 415, ""),
        ("PUT", PRODUCTION, {"data": b"{}", "headers": {**JSON, "Content-Encoding": "gzip"}}, 415, "encoded"),
        ("POST", f"/functions/{FUNCTION}/versions", {"json": {}}, 415, "application/gzip"),
        ("PUT", PRODUCTION, {"data": LARGE, "headers": JSON}, 413, "more than"),
        ("POST", "/deployments", {"json": {}, "headers": {"Hotswap-Who": "é"}}, 400, "Hotswap-Who"),
        ("POST", "/deployments", {"json": {}, "headers": {"Idempotency-Key": "a b"}}, 400, "Idempotency-Key"),
        ("POST", "/deployments", {"json": {}, "headers": {"Idempotency-Key": ""}}, 400, "Idempotency-Key"),
        ("POST", "/deployments", {"json": {}, "headers": {"If-Match": '"1"'}}, 400, "If-Match"),
        ("POST", "/deployments", {"json": {}, "headers": {"Expect": "more"}}, 417, "Expect"),
        ("GET", "/deployments/d-1/events", {"headers": {"Last-Event-ID": "x"}}, 400, "Last-Event-ID"),
    ],
)  # fmt: skip
async def test_a_wrong_request_is_told_what_is_wrong(
    world: World, method: str, path: str, options: dict[str, Any], status: int, said: str
) -> None:
    problem = (await world.rest.send(method, path, **options)).problem(status)
    assert said in problem["detail"]
    assert problem["instance"].startswith("/api/v1/")


async def test_what_a_path_takes_is_told_with_the_refusal(world: World) -> None:
    answer = await world.rest.send("DELETE", PRODUCTION)
    answer.problem(405)
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "PUT"}
    assert (await world.rest.put(PRODUCTION, data="x")).headers["Accept"] == "application/json"


async def test_a_body_that_is_too_large_is_refused_before_and_while_it_is_read(world: World) -> None:
    async def endless() -> Any:
        for _ in range(3):
            yield b" " * reading.LARGEST_DOCUMENT

    (await world.rest.put(PRODUCTION, data=endless(), headers=JSON)).problem(413)


async def raw(address: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """What a client gets that sends these bytes, whatever they are."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if line)
            return int(head[0].split()[1]), fields, await reader.readexactly(int(fields["Content-Length"]))
    finally:
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /api/v1/functions/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/functions/%ff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/functions?x=%f HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/functions/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/functions/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"BREW /api/v1/functions HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/functions HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/functions HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /api/v1/deployments HTTP/1.1\r\nHost: x\r\nContent-Type: \xff\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /api/v1/deployments HTTP/1.1\r\nHost: x\r\nHotswap-Who: \xff\r\nContent-Length: 0\r\n\r\n",
        b"POST /api/v1/deployments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nnot a chunk\r\n",
    ],
)
async def test_bytes_that_are_no_request_get_a_problem_document_too(world: World, request_bytes: bytes) -> None:
    status, fields, body = await raw(world.rest.address, request_bytes)
    assert 400 <= status < 500
    assert fields["Content-Type"] == PROBLEM
    assert json.loads(body)["status"] == status


async def test_a_body_that_stops_coming_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SILENCE_LIMIT", 0.1)
    head = b"PUT /api/v1" + PRODUCTION.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    status, _, body = await raw(world.rest.address, head + b"Content-Length: 100\r\n\r\n{")
    assert (status, json.loads(body)["status"]) == (408, 408)


async def test_a_fault_of_ours_is_logged_and_answered_without_details(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: Service) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(Service, "functions", broken)
    with caplog.at_level(logging.ERROR):
        answer = await world.rest.get("/functions")
    problem = answer.problem(500)
    assert "secret" not in answer.body.decode()
    assert problem["requestId"] in caplog.text
    assert "the secret of the house" in caplog.text
    (await world.rest.get("/nodes")).made()


async def test_without_its_store_the_controller_says_to_try_again(private_etcd: LocalEtcd, tmp_path: Any) -> None:
    settings = EtcdSettings(endpoints=(private_etcd.endpoint,))
    async with (
        connected(settings) as kv,
        Platform(kv, tmp_path).resting() as address,
        rest_at(address) as rest,
    ):
        (await rest.get("/functions")).made()
        await private_etcd.kill()
        answer = await rest.get("/functions")
        answer.problem(503)
        assert int(answer.headers["Retry-After"]) > 0


async def test_every_answer_names_its_request(tmp_path: Any) -> None:
    async with Platform(MemoryKV(), tmp_path).resting() as address, rest_at(address) as rest:
        answers = [await rest.get("/functions"), await rest.get("/nothing")]
        ids = [answer.headers["Hotswap-Request-Id"] for answer in answers]
        assert len(set(ids)) == 2
        assert answers[1].json["requestId"] == ids[1]
