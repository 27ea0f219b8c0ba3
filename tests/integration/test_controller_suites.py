"""The tests of a version that has no traffic: what they invoke, what passes, and what they say of what does not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from controller.means import TestsFailed
from controller.suites import Suites, suites
from hotswap import requests
from hotswap.deployment import Deployment, Test
from hotswap.errors import Invalid, Unavailable
from hotswap.fitting import misfit
from hotswap.memory import MemoryKV
from hotswap.model import Kind, Manifest, Router, Schemas, Version, decode
from hotswap.store import Store
from hotswap.suite import Hook, Load, Suite
from tests.controller_walk import BEGIN, deployment

ANSWER_SCHEMA = {"type": "object", "required": ["greeting"], "properties": {"greeting": {"type": "string"}}}
SAMPLE = {"name": "Ada"}
NO_SCHEMAS = Schemas()


@dataclass
class Served:
    """A router, and behind it a version that answers as the test says; and a place for hooks."""

    answer: Any = field(default_factory=lambda: {"greeting": "Hello"})
    statuses: list[int] = field(default_factory=list)
    """Of the next answers; 200 when there are none left."""
    error: str = ""
    text: str = ""
    """In place of the answer."""
    version: str = ""
    """That answered; empty when it is the router that did."""
    hook_status: int = 200
    invoked: list[tuple[str, Any]] = field(default_factory=list)
    hooked: list[Any] = field(default_factory=list)
    address: str = ""

    async def invoke(self, request: web.Request) -> web.Response:
        self.invoked.append((request.path_qs, await request.json()))
        headers = {"Location": "/elsewhere"} | ({"X-Amz-Function-Error": self.error} if self.error else {})
        status = self.statuses.pop(0) if self.statuses else 200
        if self.version:
            headers["Hotswap-Version"] = self.version
        return web.Response(text=self.text or json.dumps(self.answer), status=status, headers=headers)

    async def elsewhere(self, request: web.Request) -> web.Response:
        raise AssertionError("a redirection is not followed")

    async def hook(self, request: web.Request) -> web.Response:
        self.hooked.append(await request.json())
        return web.Response(status=self.hook_status, text="so it is")


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Served, aiohttp.ClientSession]]:
    made, app = Served(), web.Application()
    app.router.add_post("/fn/{name}/", made.invoke)
    app.router.add_post("/2015-03-31/functions/{name}/invocations", made.invoke)
    app.router.add_post("/hook", made.hook)
    app.router.add_get("/elsewhere", made.elsewhere)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.address = f"127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            yield made, session
    finally:
        await runner.cleanup()


def raw(document: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(document).encode())


async def store(*routers: str, sample: bool = True, schemas: Schemas = NO_SCHEMAS, kind: Kind = Kind.HANDLER) -> Store:
    made = Store(MemoryKV())
    manifest = Manifest(
        function="f",
        kind=kind,
        entrypoint="app:handler",
        sample_payload=raw(SAMPLE) if sample else msgspec.UNSET,
        schemas=schemas,
    )
    version = Version(function="f", number=6, artifact="", size=1, manifest=manifest, published=BEGIN)
    transaction = made.transaction().create(version)
    for number, address in enumerate(routers):
        transaction.create(Router(name=f"r{number}", address=address, admin="", boot="1"))
    await transaction.commit()
    return made


def blue_green() -> Deployment:
    return deployment(requests.BlueGreen(function_name="f", version=6), stable={5: 100})


async def run(made: Store, session: aiohttp.ClientSession, **suite: Any) -> str:
    step = next(step for step in blue_green().plan if isinstance(step, Test))
    step = msgspec.structs.replace(step, suite=Suite(**suite))
    return await Suites(store=made, session=session).tested(blue_green(), step)


async def test_a_good_version_is_invoked_by_name_with_its_sample_payload_and_passes() -> None:
    async with served() as (router, session):
        made = await store(router.address, schemas=Schemas(output=raw(ANSWER_SCHEMA)))
        said = await run(made, session)
    assert said == (
        "the tests of version 6 passed: smoke: the sample payload was answered; "
        "schema: the answer fits its schema; load: 0 of 100 invocations failed"
    )
    assert router.invoked == [("/2015-03-31/functions/f/invocations?Qualifier=6", SAMPLE)] * 102


async def test_a_version_that_fails_once_fails_the_smoke_test_and_is_tested_no_further() -> None:
    async with served() as (router, session):
        router.statuses, router.answer = [500], {"errorMessage": "no"}
        with pytest.raises(TestsFailed, match=r"smoke: the sample payload was answered with 500 .*no"):
            await run(await store(router.address), session)
    assert len(router.invoked) == 1


async def test_a_failure_that_only_a_header_tells_is_one() -> None:
    async with served() as (router, session):
        router.error = "Unhandled"
        with pytest.raises(TestsFailed, match="smoke"):
            await run(await store(router.address), session)


@pytest.mark.parametrize(("failures", "passes"), [(1, True), (2, False)])
async def test_one_failure_in_a_hundred_is_within_the_load_tests_limit(failures: int, *, passes: bool) -> None:
    async with served() as (router, session):
        router.statuses = [500] * failures
        made = await store(router.address)
        if passes:
            assert "1 of 100 invocations failed" in await run(made, session, smoke=False)
            return
        with pytest.raises(TestsFailed, match=r"load: 2 of 100 invocations failed, 1 % may; the first .* 500"):
            await run(made, session, smoke=False)


async def test_the_load_is_as_large_as_the_suite_says() -> None:
    async with served() as (router, session):
        await run(await store(router.address), session, smoke=False, load=Load(requests=7, concurrency=2))
    assert len(router.invoked) == 7


async def test_as_many_are_under_way_as_the_suite_says_and_no_cookie_of_theirs_is_sent_on() -> None:
    """More than a client's connections usually are: so all have to be there before any is answered."""
    at_a_time, cookies = 128, set[str | None]()
    together = asyncio.Barrier(at_a_time)

    async def invoke(request: web.Request) -> web.Response:
        cookies.add(request.headers.get("Cookie"))
        try:
            async with asyncio.timeout(20):
                await together.wait()
        except TimeoutError:
            await together.abort()
            raise
        return web.json_response({}, headers={"Hotswap-Version": "6", "Set-Cookie": "who=one; Path=/"})

    app = web.Application()
    app.router.add_post("/{path:.*}", invoke)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made = await store(f"localhost:{runner.addresses[0][1]}")
        load = Load(requests=2 * at_a_time, concurrency=at_a_time)
        test = next(step for step in blue_green().plan if isinstance(step, Test))
        test = msgspec.structs.replace(test, suite=Suite(smoke=False, load=load))
        async with suites(store=made) as tests:
            assert "0 of 256 invocations failed" in await tests.tested(blue_green(), test)
    finally:
        await runner.cleanup()
    assert cookies == {None}


async def test_a_pattern_without_end_fails_the_version_and_not_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.suites.misfit", partial(misfit, limit=2))
    async with served() as (router, session):
        router.answer = {"greeting": "a" * 64 + "!"}
        output = raw({"properties": {"greeting": {"pattern": "^(a+)+$"}}})
        with pytest.raises(TestsFailed, match=r"schema: .* it cannot be told within 2 s"):
            await run(await store(router.address, schemas=Schemas(output=output)), session)


def test_a_suite_has_no_more_hooks_than_its_text_bears() -> None:
    with pytest.raises(Invalid, match="a list of at most 16, each an object"):
        decode(json.dumps({"hooks": [{"url": "http://x"}] * 17}), Suite, where="suite")


@pytest.mark.parametrize(
    ("answer", "said"),
    [({"greeting": 3}, r"\$\.greeting: 3 is not of type 'string'"), ({}, "'greeting' is a required")],
)
async def test_an_answer_that_does_not_fit_its_schema_fails(answer: Any, said: str) -> None:
    async with served() as (router, session):
        router.answer = answer
        made = await store(router.address, schemas=Schemas(output=raw(ANSWER_SCHEMA)))
        with pytest.raises(TestsFailed, match=said):
            await run(made, session)


async def test_what_does_not_apply_is_skipped_and_said() -> None:
    async with served() as (router, session):
        said = await run(await store(router.address, sample=False), session)
    assert "smoke: skipped, hotswap.toml has no sample_payload" in said
    assert "schema: skipped, hotswap.toml has no schema of answers" in said
    assert router.invoked == []


async def test_a_hook_is_told_what_it_is_to_look_at() -> None:
    async with served() as (router, session):
        url = f"http://{router.address}/hook"
        await run(await store(router.address), session, smoke=False, load=None, hooks=[Hook(url=url)])
    assert router.hooked == [
        {
            "deployment": "d-1",
            "function": "f",
            "alias": "production",
            "version": 6,
            "invoke": f"http://{router.address}/2015-03-31/functions/f/invocations?Qualifier=6",
        }
    ]


async def test_a_hook_that_does_not_answer_with_2xx_fails_the_tests() -> None:
    async with served() as (router, session):
        router.hook_status = 302
        hooks = [Hook(url=f"http://{router.address}/hook")]
        with pytest.raises(TestsFailed, match="/hook answered 302 so it is"):
            await run(await store(router.address), session, hooks=hooks)
        with pytest.raises(TestsFailed, match="no answer"):
            await run(await store(router.address), session, hooks=[Hook(url="http://127.0.0.1:9/")])


async def test_a_router_that_is_away_is_no_fault_of_the_version() -> None:
    async with served() as (router, session):
        assert "passed" in await run(await store("127.0.0.1:9", router.address), session)
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"):
            await run(await store("127.0.0.1:9"), session)
        with pytest.raises(Unavailable, match="no router"):
            await run(await store(), session)


async def test_a_web_application_is_sent_its_sample_payload_as_any_request_is() -> None:
    async with served() as (router, session):
        await run(await store(router.address, kind=Kind.ASGI), session, load=None)
    assert router.invoked == [("/fn/f:6/", SAMPLE)]


@pytest.mark.parametrize("status", [302, 404, 429])
async def test_an_answer_that_is_not_2xx_fails_the_smoke_test_and_is_not_followed(status: int) -> None:
    async with served() as (router, session):
        router.statuses, router.version = [status], "6"
        with pytest.raises(TestsFailed, match=f"answered with {status}"):
            await run(await store(router.address), session)


async def test_a_caller_s_fault_is_no_error_under_load() -> None:
    async with served() as (router, session):
        router.statuses = [429] * 7
        assert "0 of 7 invocations failed" in await run(
            await store(router.address), session, smoke=False, load=Load(requests=7)
        )


async def test_a_long_answer_is_read_to_its_end_before_it_is_checked() -> None:
    async with served() as (router, session):
        router.answer = {"greeting": "x" * 500_000}
        made = await store(router.address, schemas=Schemas(output=raw(ANSWER_SCHEMA)))
        assert "the answer fits its schema" in await run(made, session, load=None)
        router.answer = {"greeting": "x" * 2_000_000}
        with pytest.raises(TestsFailed, match="too long to be checked"):
            await run(made, session, load=None)


async def test_an_answer_that_is_nested_too_deeply_does_not_fit_its_schema() -> None:
    async with served() as (router, session):
        router.text = "[" * 100_000
        made = await store(router.address, schemas=Schemas(output=raw(ANSWER_SCHEMA)))
        with pytest.raises(TestsFailed, match="it is no JSON"):
            await run(made, session, load=None)


async def test_a_router_that_does_not_know_the_version_is_no_fault_of_the_version() -> None:
    async with served() as (router, session):
        router.statuses = [404]
        with pytest.raises(Unavailable, match="does not know version 6"):
            await run(await store(router.address), session)


@pytest.mark.parametrize(
    ("kept_alive", "passes"), [(True, True), (False, False)], ids=["a connection that died", "a router that dies"]
)
async def test_a_connection_that_breaks_before_the_answer_is_no_fault_of_the_version(
    *, kept_alive: bool, passes: bool
) -> None:
    broken = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal broken
        await reader.readuntil(b"}")
        if broken and kept_alive:
            writer.write(b"HTTP/1.1 200 OK\r\nHotswap-Version: 6\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        broken += 1
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server, aiohttp.ClientSession() as session:
        made = await store("{}:{}".format(*server.sockets[0].getsockname()))
        if passes:
            assert "passed" in await run(made, session, load=None)
            return
        with pytest.raises(Unavailable):
            await run(made, session, load=None)


async def test_an_answer_that_breaks_off_is_the_version_s_fault() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 200 OK\r\nHotswap-Version: 6\r\nContent-Length: 9\r\n\r\nhalf")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server, aiohttp.ClientSession() as session:
        made = await store("{}:{}".format(*server.sockets[0].getsockname()))
        with pytest.raises(TestsFailed, match="200 half"):
            await run(made, session, load=None)


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ({"url": "ftp://x"}, '"hooks[0]": "url" is "ftp://x"; it must be such as "https://ci.example/check"'),
        ({"url": "http://"}, '"hooks[0]": "url" is "http://"'),
        ({"url": "http://me:secret@x/"}, '"hooks[0]": "url" is "http://me:secret@x/"'),
        ({"url": "http://x", "timeout": "PT0S"}, '"hooks[0]": "timeout" must be longer than 0'),
        ({"url": "http://x", "headers": {"a": "b\r\nc"}}, '"hooks[0]": "headers" has "a", which cannot be sent'),
    ],
)
def test_a_hook_that_cannot_be_called_is_refused_in_the_request(hook: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as told:
        decode(json.dumps({"hooks": [hook]}), Suite, where="suite")
    assert said in str(told.value)
