"""What a router says of an invocation, as a client of AWS's is told it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hotswap.model import Router
from hotswap.settings import EtcdSettings
from tests.controller_platform import FUNCTION, TTL, platform
from tests.rest import connected

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
VERSION = {"Hotswap-Version": "1", "X-Amz-Executed-Version": "1"}


@asynccontextmanager
async def behind(answering: Answering, etcd: EtcdSettings, folder: Path) -> AsyncIterator[str]:
    """The address of a controller whose only router answers so, by the path of an invocation."""
    app = web.Application()
    app.router.add_post(f"/2015-03-31/functions/{FUNCTION}/invocations", answering)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        async with connected(etcd) as kv, platform(kv, folder, nodes=0, routers=0) as made:
            lease = await kv.grant(TTL)
            record = Router(name="r1", address=address, admin="127.0.0.1:9", boot="1")
            await made.store.transaction().announce(record, lease=lease.id).commit()
            async with made.resting() as rest:
                yield f"http://{rest}/2015-03-31/functions/{FUNCTION}/invocations"
            await lease.revoke()
    finally:
        await runner.cleanup()


async def test_a_routers_own_answers_are_told_by_awss_codes(etcd: EtcdSettings, tmp_path: Path) -> None:
    answers: list[tuple[int, dict[str, str], int, str]] = [
        (503, {}, 429, "TooManyRequestsException"),
        (413, {}, 413, "RequestTooLargeException"),
        (404, {}, 404, "ResourceNotFoundException"),
        (502, {}, 503, "ServiceUnavailableException"),
        (400, {}, 400, "InvalidRequestContentException"),
        (400, {**VERSION, "X-Amzn-ErrorType": "x"}, 400, "InvalidRequestContentException"),
    ]

    async def answering(_: web.Request) -> web.Response:
        status, headers, *_told = answers[0]
        return web.json_response({"detail": "said so"}, status=status, headers=headers)

    async with behind(answering, etcd, tmp_path) as url, aiohttp.ClientSession() as session:
        while answers:
            _, _, status, code = answers[0]
            async with session.post(url, data=b"{}") as answer:
                assert (answer.status, answer.headers["X-Amzn-ErrorType"]) == (status, code)
                assert "said so" in await answer.text()
            answers.pop(0)


async def test_what_a_function_of_another_kind_answers_is_passed_on(etcd: EtcdSettings, tmp_path: Path) -> None:
    async def answering(_: web.Request) -> web.Response:
        return web.Response(status=404, text="no such page", headers=VERSION)

    async with (
        behind(answering, etcd, tmp_path) as url,
        aiohttp.ClientSession() as session,
        session.post(url) as answer,
    ):
        assert (answer.status, await answer.text()) == (404, "no such page")
        assert answer.headers["X-Amz-Executed-Version"] == "1"


async def test_without_a_qualifier_the_usual_alias_is_meant_where_nothing_was_updated(
    etcd: EtcdSettings, tmp_path: Path
) -> None:
    asked: list[str] = []

    async def answering(request: web.Request) -> web.Response:
        asked.append(request.query["Qualifier"])
        if asked[-1] == "production":
            return web.json_response({}, headers=VERSION)
        return web.json_response({"detail": "no alias"}, status=404)

    async with (
        behind(answering, etcd, tmp_path) as url,
        aiohttp.ClientSession() as session,
        session.post(url) as answer,
    ):
        assert answer.status == 200
    assert asked == ["LATEST", "production"]


async def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(etcd: EtcdSettings, tmp_path: Path) -> None:
    async def answering(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**VERSION, "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"begun")
        assert request.transport
        request.transport.close()
        return response

    async with (
        behind(answering, etcd, tmp_path) as url,
        aiohttp.ClientSession() as session,
        session.post(url) as answer,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
