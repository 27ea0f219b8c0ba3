"""The paths of AWS Lambda's interface: a request is read, its caller found out, and it is answered in AWS's shapes."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from msgspec import json

from controller.access import Access, Parts
from controller.api.aws import aliases, functions, invoking, later
from controller.api.aws.callers import Callers
from controller.api.aws.calls import Call, Reply
from controller.api.aws.faults import REQUEST_ID, Fault, busy, fault_of, invalid, rendered, too_large
from controller.api.aws.passing import Passing
from controller.api.rest.reading import LARGEST_DOCUMENT, next_chunk
from controller.api.rest.underway import Underway
from hotswap.auth import Caller
from hotswap.mirror import mirrored
from hotswap.store import Store

PATHS = "/{date:20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]}{rest:/.*}"
"""Of all of Lambda's operations, also those that are not covered."""
ROOT = "/2015-03-31/functions"
LARGEST_WITH_CODE = 70 * 1024 * 1024
"""Bytes of a request that brings code, as with AWS: the largest zip in base64."""
WITH_CODE = frozenset({"CreateFunction", "UpdateFunctionCode"})
UPLOADS = 4
"""Large requests that are in memory at a time; others wait."""
TURN = 30.0
"""Seconds that they do."""
LARGEST_EVENT = 6 * 1024 * 1024
LARGEST_LATER = 256 * 1024
"""Bytes, of an invocation of the type Event."""

Operation = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: re.Pattern[str]
    name: str
    """AWS's, of the operation."""
    operation: Operation | None
    """`None` for Invoke, which has its own way."""


def _routes(made: functions.Functions) -> list[Route]:
    rows: list[tuple[str, str, str, Operation | None]] = [
        ("POST", "", "CreateFunction", made.create),
        ("GET", "", "ListFunctions", made.find),
        ("GET", "/F", "GetFunction", made.get),
        ("DELETE", "/F", "DeleteFunction", made.delete),
        ("GET", "/F/configuration", "GetFunctionConfiguration", made.get_configuration),
        ("PUT", "/F/configuration", "UpdateFunctionConfiguration", made.update_settings),
        ("PUT", "/F/code", "UpdateFunctionCode", made.update_code),
        ("GET", "/F/versions", "ListVersionsByFunction", made.find_versions),
        ("POST", "/F/versions", "PublishVersion", made.publish),
        ("GET", "/F/aliases", "ListAliases", aliases.find),
        ("POST", "/F/aliases", "CreateAlias", aliases.create),
        ("GET", "/F/aliases/A", "GetAlias", aliases.get),
        ("PUT", "/F/aliases/A", "UpdateAlias", aliases.update),
        ("DELETE", "/F/aliases/A", "DeleteAlias", aliases.delete),
        ("POST", "/F/invocations", "Invoke", None),
    ]
    return [Route(method, _pattern(path), name, operation) for method, path, name, operation in rows]


def _pattern(path: str) -> re.Pattern[str]:
    named = path.replace("/F", "/(?P<function>[^/]+)").replace("/A", "/(?P<alias>[^/]+)")
    return re.compile(ROOT + named + "/?")


class Lambda:
    def __init__(
        self,
        *,
        parts: Parts,
        callers: Callers,
        underway: Underway,
        invokes: invoking.Invoking,
        queue: later.Later,
        passing: Passing,
    ) -> None:
        self._parts = parts
        self._callers = callers
        self._underway = underway
        self._invokes = invokes
        self._queue = queue
        self._passing = passing
        self._uploads = asyncio.Semaphore(UPLOADS)
        self._routes = _routes(functions.Functions(parts.artifacts))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Every request to `PATHS`; what goes wrong is told in AWS's shapes."""
        request_id = str(uuid.uuid4())
        try:
            route, path = self._route(request)
            if route.operation and route.method != "GET":
                return await self._underway.finish(self._answer(route, path, request, request_id))
            return await self._answer(route, path, request, request_id)
        except Exception as error:
            response = rendered(fault_of(error), request_id=request_id)
            if not request.content.is_eof():
                response.force_close()
            return response

    def _route(self, request: web.Request) -> tuple[Route, dict[str, str]]:
        path = request.raw_path.partition("?")[0]
        for route in self._routes:
            if route.method == request.method and (found := route.path.fullmatch(path)):
                return route, {name: unquote(text) for name, text in found.groupdict().items()}
        raise Fault(
            "UnknownOperationException",
            f"{request.method} {path} is no operation that HotSwap covers",
            status=HTTPStatus.NOT_FOUND,
            hint="docs/lambda.md says what is covered",
        )

    async def _answer(
        self, route: Route, path: dict[str, str], request: web.Request, request_id: str
    ) -> web.StreamResponse:
        caller = await self._callers.unsigned(request)
        large = (request.content_length or LARGEST_WITH_CODE) > LARGEST_DOCUMENT
        async with self._turn() if large and route.name in WITH_CODE else nullcontext():
            return await self._answer_whole(route, path, request, request_id, caller)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN):
                await self._uploads.acquire()
        except TimeoutError:
            raise busy("Rate Exceeded. Others are uploading code", hint="send it again later") from None
        try:
            yield
        finally:
            self._uploads.release()

    async def _answer_whole(
        self, route: Route, path: dict[str, str], request: web.Request, request_id: str, caller: Caller | None
    ) -> web.StreamResponse:
        body = await _read(request, _most(route, request), operation=route.name)
        call = Call(
            access=Access(caller or self._callers.signed(request, body), self._parts),
            path=path,
            query=request.query,
            headers=request.headers,
            body=body,
            region=self._callers.region(request),
            request_id=request_id,
        )
        if route.operation is None:
            return await self._invoke(request, call)
        if route.method != "GET" and not caller and self._passing.needed:
            return await self._passing.answer(request, body)
        reply = await route.operation(call)
        fields = {REQUEST_ID: request_id}
        if reply.document is None:
            return web.Response(status=reply.status, headers=fields)
        body = json.encode(reply.document)
        return web.Response(status=reply.status, body=body, headers=fields, content_type="application/json")

    async def _invoke(self, request: web.Request, call: Call) -> web.StreamResponse:
        named, kind = call.named, call.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        call.access.check_invoke(named.function)
        invocation = invoking.Invocation(
            function=named.function,
            qualifier="" if named.latest else named.qualifier,
            body=call.body,
            headers=invoking.headers_of(call.headers),
            id=call.request_id,
        )
        if kind == "RequestResponse":
            return await self._invokes.relay(request, invocation)
        here = await functions.present(call, named.function)
        await functions.version_of(call, here, named)
        if kind == "DryRun":
            return web.Response(status=HTTPStatus.NO_CONTENT, headers={REQUEST_ID: call.request_id})
        if kind != "Event":
            raise invalid(f'InvocationType is "{kind}"; it must be RequestResponse, Event or DryRun')
        _check_json(call.body)
        self._queue.take(invocation)
        return web.Response(status=HTTPStatus.ACCEPTED, headers={REQUEST_ID: call.request_id})


def _check_json(body: bytes) -> None:
    """What cannot be a handler's event is refused while somebody is there to be told."""
    try:
        if body:
            json.decode(body)
    except ValueError as error:
        raise Fault(
            "InvalidRequestContentException", f"Could not parse request body into json: {error}", status=400
        ) from None


def _most(route: Route, request: web.Request) -> int:
    if route.operation:
        return LARGEST_WITH_CODE if route.name in WITH_CODE else LARGEST_DOCUMENT
    return LARGEST_LATER if request.headers.get("X-Amz-Invocation-Type") == "Event" else LARGEST_EVENT


async def _read(request: web.Request, most: int, *, operation: str) -> bytes:
    if (request.content_length or 0) > most:
        raise too_large(most, operation=operation)
    content = bytearray()
    while chunk := await next_chunk(request):
        content += chunk
        if len(content) > most:
            raise too_large(most, operation=operation)
    return bytes(content)


@asynccontextmanager
async def lambda_interface(
    *, store: Store, parts: Parts, callers: Callers, underway: Underway
) -> AsyncIterator[Lambda]:
    """Until the context ends."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=invoking.KEEP_ALIVE)
    async with (
        mirrored(store.routers) as routers,
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
    ):
        invokes = invoking.Invoking(session=session, routers=routers)
        async with later.making(invokes.succeeds) as queue:
            yield Lambda(
                parts=parts,
                callers=callers,
                underway=underway,
                invokes=invokes,
                queue=queue,
                passing=Passing(session=session, parts=parts),
            )
