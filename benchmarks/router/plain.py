"""A plain aiohttp proxy, as anybody would write it: a server, a client session, bodies streamed both ways.

python -m benchmarks.router.plain PORT BENCH_PORT,BENCH_PORT EVENTS_PORT,EVENTS_PORT
"""

import asyncio
import random
import sys
import uuid
from collections.abc import Sequence

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from benchmarks.router.case import EVENTS, FUNCTION, WEIGHTS

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
VIA = "1.1 plain"
NOT_MADE_UP = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
"""aiohttp's client would add them where the request has none."""


class Plain:
    def __init__(self, session: aiohttp.ClientSession, ports: dict[str, Sequence[int]]) -> None:
        self._session = session
        self._ports = ports
        self._weights = list(WEIGHTS.values())

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        ports = self._ports.get(request.path.split("/", 3)[2])
        if ports is None:
            return web.Response(status=404)
        (port,) = random.choices(ports, self._weights)
        request_id = uuid.uuid4().hex
        async with self._session.request(
            request.method,
            f"http://127.0.0.1:{port}{request.raw_path}",
            headers=_to_backend(request, request_id),
            skip_auto_headers=NOT_MADE_UP,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers))
            response.headers["Via"] = VIA
            response.headers["X-Request-Id"] = request_id
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _to_backend(request: web.BaseRequest, request_id: str) -> CIMultiDict[str]:
    headers = _kept(request.headers)
    headers["X-Forwarded-For"] = request.remote or "unknown"
    headers["X-Forwarded-Proto"] = request.scheme
    headers["X-Forwarded-Host"] = request.host
    headers["X-Request-Id"] = request_id
    headers["Via"] = VIA
    return headers


def _kept(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)


async def run(port: int, ports: dict[str, Sequence[int]]) -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        runner = web.ServerRunner(web.Server(Plain(session, ports), access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


def main(arguments: Sequence[str]) -> None:
    port, bench, events = arguments
    uvloop.run(run(int(port), {FUNCTION: _ports(bench), EVENTS: _ports(events)}))


def _ports(text: str) -> list[int]:
    return [int(port) for port in text.split(",")]


if __name__ == "__main__":
    main(sys.argv[1:])
