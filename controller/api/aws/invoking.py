"""Invocations that come to a controller: handed on to a router, which picks the version and counts.

A controller runs nothing and decides nothing of an invocation. Whoever invokes much does so at a router, which speaks
the same; here the answer takes one hop more. What a router says in its own words is told in Lambda's.
"""

import base64
import binascii
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
from aiohttp import web
from msgspec import json

from controller.api.aws import names
from controller.api.aws.faults import REQUEST_ID, Fault, busy, invalid, missing, unavailable
from hotswap.mirror import Mirror
from hotswap.model import DEFAULT_ALIAS, Router

LIMIT = aiohttp.ClientTimeout(total=1_000, sock_connect=5)
"""Seconds: a router keeps the limit of the version, which Lambda lets be 900 s."""
KEEP_ALIVE = 15.0
"""Seconds that a connection is kept: less than a router keeps it."""
PIECE = 65_536
PASSED_ON = ("Content-Type", "X-Amz-Client-Context", "X-Amz-Log-Type")
TOLD = (
    *("Content-Type", "Content-Encoding", "Hotswap-Version"),
    *("X-Amz-Executed-Version", "X-Amz-Function-Error", "X-Amz-Log-Result"),
)
LARGEST_CONTEXT = 3_583
"""Bytes of a client's context, in base64."""
UNHANDLED = "Unhandled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    function: str
    qualifier: str
    """An alias or digits; empty for `$LATEST`."""
    body: bytes = field(repr=False)
    headers: Mapping[str, str]
    id: str


def headers_of(request: Mapping[str, str]) -> dict[str, str]:
    """What of them is for the function; raises `Fault`."""
    context = request.get("X-Amz-Client-Context", "")
    if len(context) > LARGEST_CONTEXT:
        raise invalid(f"ClientContext has {len(context)} bytes in base64; it may have {LARGEST_CONTEXT}")
    if context:
        _check_context(context)
    kind = request.get("X-Amz-Log-Type", "None")
    if kind not in {"None", "Tail"}:
        raise invalid(f'LogType is "{kind}"; it must be None or Tail')
    return {name: request[name] for name in PASSED_ON if name in request}


class Invoking:
    def __init__(self, *, session: aiohttp.ClientSession, routers: Mirror[Router]) -> None:
        self._session = session
        self._routers = routers

    async def relay(self, request: web.Request, invocation: Invocation) -> web.StreamResponse:
        """The answer, as it comes. Raises `Fault`."""
        async with self._answered(invocation) as answer:
            if failed := _broken(answer, invocation):
                return failed
            fields = {name: answer.headers[name] for name in TOLD if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers={**fields, REQUEST_ID: invocation.id})
            if answer.content_length is not None:
                response.content_length = answer.content_length
            await response.prepare(request)
            try:
                async for piece in answer.content.iter_chunked(PIECE):
                    await response.write(piece)
                await response.write_eof()
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                _cut(request)  # what has begun cannot be told otherwise any more
            return response

    async def succeeds(self, invocation: Invocation) -> bool:
        """Whether the function did what it was asked to; raises `Fault` where it was not asked."""
        async with self._answered(invocation) as answer:
            raised = "X-Amz-Function-Error" in answer.headers or answer.status >= 500
            failed = raised or _broken(answer, invocation) is not None
            async for _ in answer.content.iter_chunked(PIECE):
                pass
            return not failed

    @asynccontextmanager
    async def _answered(self, invocation: Invocation) -> AsyncIterator[aiohttp.ClientResponse]:
        """By the alias `LATEST` where no qualifier was named, or by the usual one where there is none."""
        qualifiers = [invocation.qualifier] if invocation.qualifier else [names.LATEST_ALIAS, DEFAULT_ALIAS]
        try:
            for qualifier in qualifiers:
                async with self._post(invocation, qualifier) as answer:
                    if _is_missing(answer) and qualifier != qualifiers[-1]:
                        continue
                    await _check(answer, invocation)
                    yield answer
                    return
        except aiohttp.ClientError as error:
            raise unavailable(f"the router does not answer: {type(error).__name__}") from error
        except TimeoutError:
            raise unavailable("the router did not answer in time") from None

    def _post(self, invocation: Invocation, qualifier: str) -> "aiohttp.client._RequestContextManager":
        path = f"/2015-03-31/functions/{quote(invocation.function)}/invocations?Qualifier={quote(qualifier)}"
        headers = {"Hotswap-Request-Id": invocation.id, **invocation.headers}
        url = f"http://{self._router()}{path}"
        return self._session.post(url, data=invocation.body, headers=headers, timeout=LIMIT, allow_redirects=False)

    def _router(self) -> str:
        known = [stored.value.address for stored in self._routers]
        if not known:
            raise unavailable("no router runs at the moment", hint="start one: hotswap router")
        return random.choice(known)  # noqa: S311 - nobody gains by guessing it


def _cut(request: web.Request) -> None:
    if request.transport:
        request.transport.abort()


def _is_missing(answer: aiohttp.ClientResponse) -> bool:
    return answer.status == 404 and "Hotswap-Version" not in answer.headers


async def _check(answer: aiohttp.ClientResponse, invocation: Invocation) -> None:
    """Raises `Fault` where the function was not invoked."""
    if answer.status < 400 or _broken(answer, invocation):
        return
    if "Hotswap-Version" in answer.headers:
        await _check_refused(answer)
        return
    detail = await _detail(answer)
    match answer.status:
        case 404:
            raise missing(f"Function not found: {names.arn(invocation.function, invocation.qualifier)}; {detail}")
        case 413:
            raise Fault("RequestTooLargeException", detail, status=413)
        case 503:
            raise busy(f"Rate Exceeded. {detail}")
        case status if status >= 500:
            raise unavailable(detail)
    raise Fault("InvalidRequestContentException", detail, status=400)


async def _check_refused(answer: aiohttp.ClientResponse) -> None:
    """The runtime refuses what no handler could be called with. What a function of another kind says is its answer."""
    if answer.status == 400 and answer.headers.get("X-Amzn-ErrorType"):
        raise Fault("InvalidRequestContentException", await _detail(answer), status=400)


async def _detail(answer: aiohttp.ClientResponse) -> str:
    try:
        document = json.decode(await answer.content.read(PIECE), type=dict[str, object])
    except ValueError:
        document = {}
    return str(document.get("detail") or document.get("message") or f"the router answered {answer.status}")


def _broken(answer: aiohttp.ClientResponse, invocation: Invocation) -> web.Response | None:
    """For an instance that died, or did not answer in time: Lambda calls that an error of the function, and since the
    function may have done its work, no client may take it for something to send again."""
    match answer.headers.get("Hotswap-Error"):
        case "died":
            kind, text = "Runtime.ExitError", f"RequestId: {invocation.id} Error: Runtime exited"
        case "timeout":
            kind, text = "Sandbox.Timedout", f"RequestId: {invocation.id} Error: Task timed out"
        case _:
            return None
    document = {"errorType": kind, "errorMessage": text}
    fields = {"X-Amz-Function-Error": UNHANDLED, REQUEST_ID: invocation.id}
    return web.Response(body=json.encode(document), headers=fields, content_type="application/json")


def _check_context(context: str) -> None:
    try:
        json.decode(base64.b64decode(context, validate=True))
    except (binascii.Error, ValueError) as error:
        hint = "it must be an object of JSON, in base64"
        raise Fault("InvalidRequestContentException", f"ClientContext is not: {error}", status=400, hint=hint) from None
