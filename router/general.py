"""The general lane: a whole router on aiohttp's server, with a task for each request.

A request is resolved (which function, which alias, which version), given an endpoint, and relayed; `Invocation` is what
is known of it on its way. Each is counted once, whatever becomes of it. The table, the splits, the balancing, the
counters and the connections are not this lane's own: another lane works on the same ones.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from aiohttp import web

from hotswap.metrics import Count
from router import fields, sticky, target
from router.attempt import Attempt, Cut, SendAgain
from router.counters import Own, Pending
from router.download import Written, refuse
from router.ids import Ids
from router.invocation import Invocation
from router.lane import Lane
from router.limit import Limit
from router.outcome import died, unreachable
from router.pool import ConnectFailed
from router.problems import Problem
from router.table import Missing
from router.target import Target
from router.upload import Upload
from router.usage import NO_CELL

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Known:
    """Of a request, as it is told in its answer: what was made here says where the request goes, once that is known."""

    id: str


class General:
    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._routes = lane.routes
        self._counting = lane.counting
        self._supply = lane.supply
        self._clock = lane.clock
        self._rng = lane.rng
        self._ids = Ids(lane.rng)
        self._budget = lane.budget
        self._trust = lane.trust
        self._limits = lane.limits

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        known = Known(_chosen_id(request) or self._ids.next().decode())
        try:
            return await self._serve(request, known)
        except (Cut, ConnectionError) as error:  # what has begun cannot be ended, or the client takes nothing any more
            log.debug("an answer is cut off: %s", error)
            if request.transport is not None:
                request.transport.abort()
            return Written(status=HTTPStatus.BAD_GATEWAY, close=True)
        except Problem as problem:
            log.debug("a request is refused: %s", problem)
            if problem.outcome is None:
                self._counting.own(Own.REFUSED)
            waits = "Expect" in request.headers  # to be asked for its body, which will now never come
            return refuse(request, problem, request_id=known.id, close=waits or self._closing(request))

    async def _serve(self, request: web.BaseRequest, known: Known) -> Written:
        began = self._clock()
        named = self._named(request)
        route = self._routes.find(named.function, named.qualifier)
        if isinstance(route, Missing):
            raise target.not_found(route, named)
        peer = self._trust.peer(request.remote or "unknown")
        user = partial(self._trust.client, peer, fields.values(request.raw_headers, b"x-forwarded-for"))
        if by := route.sticky_by:
            version, cell = route.pick_for(sticky.key(by, field=request.headers.get, client=user), self._rng)
        else:
            version, cell = route.pick(), NO_CELL
        if _chosen_id(request) is None:
            known.id += self._routes.destination(route, version).marked(cell).decode()
        terms = self._routes.terms(route.function, version)
        limit = Limit(terms.timeout)
        upload = Upload(request, most=terms.max_body, limit=limit, limits=self._limits)
        row = route.rows.get(version)
        if row is None:
            row = await self._supply.row(route, version)
        pending = Pending(self._counting, row, cell)
        return await self._counted(
            Invocation(
                request=request,
                peer=peer,
                id=known.id,
                target=named,
                route=route,
                version=version,
                terms=terms,
                upload=upload,
                limit=limit,
                limits=self._limits,
                pending=pending,
                clock=self._clock,
                began=began,
            )
        )

    def _named(self, request: web.BaseRequest) -> Target:
        if request.method == "CONNECT":
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "this is not a proxy for other hosts", close=True)
        fields.check_request(request.raw_headers, http_1_1=request.version >= (1, 1))
        named = target.parse(request.raw_path, method=request.method)
        if named.invoke:
            target.check_invocation_type(fields.value(request.raw_headers, b"x-amz-invocation-type"))
        return named

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
        await invocation.upload.gather()
        while True:
            endpoints = self._routes.endpoints(invocation.route.function, invocation.version)
            load = await self._supply.endpoint(invocation, endpoints)
            if load.standby:
                invocation.cold = True
                invocation.limit.extend(invocation.terms.start_timeout)
            closing = partial(self._closing, invocation.request)
            attempt = Attempt(invocation, endpoints, load, closing=closing)
            try:
                return await attempt.run()
            except ConnectFailed as error:
                if endpoints.exhausted(invocation.tried):
                    raise unreachable(invocation.name, error) from None
            except SendAgain as error:
                if invocation.resent or not self._budget.spend():
                    raise died(invocation.name, error) from None
                invocation.resent = True
            finally:
                if attempt.ejected:
                    self._counting.own(Own.EJECTIONS)
            self._counting.own(Own.RETRIES)

    def _closing(self, request: web.BaseRequest) -> bool:
        return self._lane.draining or not request.keep_alive


def _chosen_id(request: web.BaseRequest) -> str | None:
    """The id that whoever invokes has given."""
    told = fields.value(request.raw_headers, b"hotswap-request-id")
    return told.decode() if told is not None and fields.REQUEST_ID.fullmatch(told) else None
