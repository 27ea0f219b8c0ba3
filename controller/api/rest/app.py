"""The table of routes as an application of aiohttp's: each request is read, done once, and answered."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import json

from controller.access import Access, Parts
from controller.api.rest import archives, openapi, reading
from controller.api.rest.once import Key, Once
from controller.api.rest.problems import Rendered, rendered, where
from controller.api.rest.route import PREFIX, AnyRoute, Api, Call, Nothing
from controller.api.rest.routes import ROUTES
from controller.api.rest.sending import Sending
from controller.api.rest.underway import Underway
from hotswap.errors import HotswapError, Invalid
from hotswap.model import Model, encode

IDEMPOTENCY_KEY = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
JSON = "application/json"
END = b"\n"
"""For people who read an answer in a terminal."""


class Application:
    def __init__(self, *, api: Api, parts: Parts, once: Once, underway: Underway) -> None:
        self._api = api
        self._parts = parts
        self._once = once
        self._underway = underway
        self.app = web.Application()
        for route in ROUTES:
            self.app.router.add_route(route.method, PREFIX + route.path, self._handler(route))
            if route.method == "GET" and route.handler:
                self.app.router.add_route("HEAD", PREFIX + route.path, self._handler(route))
        self._description = json.encode(openapi.document(ROUTES))
        self.app.router.add_get(f"{PREFIX}/openapi.json", self._describe)

    async def _describe(self, _: web.Request) -> web.Response:
        return web.Response(body=self._description, content_type=JSON)

    def _handler(self, route: AnyRoute) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            work = self._answer(route, request)
            return await (self._underway.finish(work) if route.changes else work)

        return handle

    async def _answer(self, route: AnyRoute, request: web.Request) -> web.StreamResponse:
        caller = await self._api.authenticate(request)
        parameters = reading.parameters(route, request)
        expected, key = _expected(route, request), _key(route, request)
        access = Access(caller, self._parts)
        async with _body(route, request, parameters, access) as (body, digested):
            call = Call(parameters=parameters, body=body, access=access, expected=expected)
            if route.stream and (streamed := await route.stream(self._api, call, request)):
                return streamed
            if not key:
                return (await self._made(route, call)).response()
            same = [request.method, request.raw_path, request.headers.get("If-Match", "")]
            asked = Key.of(
                caller=f"{caller.token} {caller.who}", key=key, request=[*(part.encode() for part in same), digested]
            )
            return (await self._once.answer(asked, partial(self._made_or_refused, route, call, request))).response()

    async def _made(self, route: AnyRoute, call: Call[Any, Any]) -> Rendered:
        assert route.handler, "a route that only streams has streamed"
        answer = await route.handler(self._api, call)
        headers = {"Content-Type": JSON, "Cache-Control": "no-store"}
        if answer.revision:
            headers["ETag"] = f'"{answer.revision}"'
        if answer.location:
            headers["Location"] = PREFIX + answer.location
        return Rendered(route.status, encode(answer.document) + END, headers)

    async def _made_or_refused(self, route: AnyRoute, call: Call[Any, Any], request: web.Request) -> Rendered:
        """A refusal is an answer too, and is kept with the key like any other."""
        try:
            return await self._made(route, call)
        except HotswapError as error:
            return rendered(error, **where(request))


def _expected(route: AnyRoute, request: web.Request) -> int | None:
    if route.conditional:
        return reading.expected(request)
    if route.changes and "If-Match" in request.headers:
        raise Invalid("If-Match says nothing here: there is no revision that could be named")
    return None


def _key(route: AnyRoute, request: web.Request) -> str:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None or not route.changes:
        return ""
    if not KEY.fullmatch(key):
        raise Invalid(f"the header {IDEMPOTENCY_KEY} is not 1 to 255 visible ASCII characters")
    return key


@asynccontextmanager
async def _body(
    route: AnyRoute, request: web.Request, parameters: Model, access: Access
) -> AsyncIterator[tuple[Any, bytes]]:
    """What came, and what tells it from another body."""
    if isinstance(parameters, Sending):
        async with archives.received(request, parameters, access) as archive:
            yield archive, archive.sha256.encode()
    elif route.has_body:
        yield await reading.document(route, request)
    else:
        yield Nothing(), b""
