"""The general lane: one task per request, for everything that waits, is held, is refused or is unusual.

A request is resolved (which function, which alias, which version), given an endpoint, and relayed; `Invocation` is what
is known of it on its way. Each is counted once, whatever becomes of it. The table, the splits, the balancing, the
counters and the connections are not this lane's own: another lane works on the same ones.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

from aiohttp import web

from hotswap.metrics import Count
from router import fields, target
from router.attempt import Attempt, Cut, SendAgain
from router.balance import Load, RetryBudget
from router.counters import Counting, Own, Pending
from router.download import Written, refuse
from router.endpoints import Endpoints, Full
from router.invocation import Invocation
from router.limit import Limit
from router.problems import Problem
from router.routes import Route, Routes
from router.table import Missing
from router.target import Target
from router.upload import Upload
from router.upstream import ConnectFailed

RETRY_AFTER = (("Retry-After", "1"),)
ROW_LIMIT = 5.0
"""Seconds for the parent to say where a version that was named itself is counted."""

AskRow = Callable[[str, int], Awaitable[int]]
"""Where invocations of (function, version) are counted that named the version."""


class General:
    """`draining`: every answer is the last on its connection."""

    def __init__(
        self, *, routes: Routes, counting: Counting, ask_row: AskRow, clock: Callable[[], float], rng: random.Random
    ) -> None:
        self.draining = False
        self._routes = routes
        self._counting = counting
        self._ask_row = ask_row
        self._clock = clock
        self._rng = rng
        self._budget = RetryBudget()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = self._request_id(request)
        try:
            return await self._serve(request, request_id)
        except (Cut, ConnectionError):  # what has begun cannot be ended, or the client takes nothing any more
            if request.transport is not None:
                request.transport.abort()
            return Written(status=HTTPStatus.BAD_GATEWAY, close=True)
        except Problem as problem:
            if problem.outcome is None:
                self._counting.own(Own.REFUSED)
            waits = "Expect" in request.headers  # to be asked for its body, which will now never come
            return refuse(request, problem, request_id=request_id, close=waits or self._closing(request))

    async def _serve(self, request: web.BaseRequest, request_id: str) -> Written:
        began = self._clock()
        named = self._named(request)
        route = self._routes.find(named.function, named.qualifier)
        if isinstance(route, Missing):
            raise _not_found(route, named)
        version = route.pick(_sticky_key(request, route.sticky_by))
        terms = self._routes.terms(route.function, version)
        limit = Limit(terms.timeout)
        upload = Upload(request, most=terms.max_body, limit=limit)
        row = route.rows.get(version)
        if row is None:
            row = await self._ask(route, version)
        pending = Pending(self._counting, row)
        return await self._counted(
            Invocation(request, request_id, named, route, version, terms, upload, limit, pending, self._clock, began)
        )

    def _named(self, request: web.BaseRequest) -> Target:
        if request.method == "CONNECT":
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "this is not a proxy for other hosts", close=True)
        fields.check_request(request.raw_headers, http_1_1=request.version >= (1, 1))
        named = target.parse(request.raw_path, method=request.method)
        if named.invoke:
            _check_invocation_type(request)
        return named

    async def _ask(self, route: Route, version: int) -> int:
        try:
            async with asyncio.timeout(ROW_LIMIT):
                return await self._ask_row(route.function, version)
        except TimeoutError:
            detail = "the router does not answer itself; see its log"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, fields=RETRY_AFTER) from None

    async def _counted(self, invocation: Invocation) -> Written:
        try:
            return await self._carry_out(invocation)
        except Problem as problem:
            invocation.count(problem.outcome or Count.PLATFORM)
            raise
        except Cut as cut:
            invocation.count(cut.outcome)
            raise
        except (asyncio.CancelledError, ConnectionError):
            invocation.count(Count.CLIENT_ERROR)  # it went away
            raise
        finally:
            invocation.count(Count.PLATFORM)  # only what nothing else has counted: a fault of ours

    async def _carry_out(self, invocation: Invocation) -> Written:
        """Until an endpoint has answered; a retry keeps the version."""
        self._budget.earn()
        while True:
            endpoints = self._routes.endpoints(invocation.route.function, invocation.version)
            load = await self._endpoint(invocation, endpoints)
            closing = partial(self._closing, invocation.request)
            attempt = Attempt(invocation, endpoints, load, closing=closing)
            try:
                return await attempt.run()
            except ConnectFailed as error:
                if endpoints.exhausted(invocation.tried):
                    raise invocation.unreachable(error) from None
            except SendAgain as error:
                if invocation.resent or not self._budget.spend():
                    raise invocation.died(error) from None
                invocation.resent = True
            finally:
                if attempt.ejected:
                    self._counting.own(Own.EJECTIONS)
            self._counting.own(Own.RETRIES)

    async def _endpoint(self, invocation: Invocation, endpoints: Endpoints) -> Load:
        """One that is ready, held until there is one."""
        if load := endpoints.take(avoid=invocation.tried):
            return load
        invocation.cold = invocation.cold or endpoints.empty
        self._counting.own(Own.HELD)
        try:
            async with asyncio.timeout(invocation.terms.start_timeout):
                return await endpoints.hold(avoid=invocation.tried)
        except Full:
            detail = f"too many invocations wait for an instance of {invocation.name}"
        except TimeoutError:
            detail = f"no instance of {invocation.name} was ready within {invocation.terms.start_timeout:g} s"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, outcome=Count.PLATFORM, fields=RETRY_AFTER)

    def _closing(self, request: web.BaseRequest) -> bool:
        return self.draining or not request.keep_alive

    def _request_id(self, request: web.BaseRequest) -> str:
        told = fields.value(request.raw_headers, b"hotswap-request-id")
        if told is not None and fields.REQUEST_ID.fullmatch(told):
            return told.decode()
        return f"{self._rng.getrandbits(128):032x}"


def _check_invocation_type(request: web.BaseRequest) -> None:
    """Of Lambda's three ways to invoke the router knows the one that waits for the answer."""
    kind = fields.value(request.raw_headers, b"x-amz-invocation-type")
    if kind is not None and kind.lower() != b"requestresponse":
        detail = f'invocations of the type "{kind.decode("ascii", "replace")}" are not taken; use RequestResponse'
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, detail)


def _not_found(missing: Missing, named: Target) -> Problem:
    told = (("X-Amzn-ErrorType", "ResourceNotFoundException"),) if named.invoke else ()
    return Problem(HTTPStatus.NOT_FOUND, str(missing), exists=missing.exists, fields=told)


def _sticky_key(request: web.BaseRequest, by: str) -> str | None:
    """What ties this user to a version, by `header:NAME`, `cookie:NAME` or `client`; `None` without such a thing."""
    how, _, name = by.partition(":")
    match how:
        case "header":
            return request.headers.get(name)
        case "cookie":
            return _cookie(request.headers.get("Cookie", ""), name)
        case "client":
            return request.remote
        case _:
            return None


def _cookie(text: str, name: str) -> str | None:
    for pair in text.split(";"):
        key, equals, found = pair.strip().partition("=")
        if equals and key == name:
            return found
    return None
