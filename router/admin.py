"""The admin port, served by the parent: it answers while workers die and are replaced.

/healthz    200 while the parent lives
/readyz     200 while every worker takes requests and no end is near
/metrics    for Prometheus
/metrics/revisions    the same by revision of the weights, for a controller that judges by Prometheus
/counters?function=F&function=G            hotswap.metrics.Counters of all these
/failing?since=L&wait=T                    hotswap.metrics.Failing: as soon as there is any, or after T s
/lacking?wait=T                            hotswap.metrics.Lacking: as soon as there is any, or after T s
/applied?subject=S&revision=R&wait=T      hotswap.metrics.Applied: 200 as soon as every worker has R, 202 after T s
"""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from hotswap.metrics import Applied, Counters, Lacking
from hotswap.model import Model, Router, encode
from router.exposition import RouterCollector
from router.failing import Bad
from router.lacking import Lacks
from router.revisions import RevisionCollector
from router.rows import Rows
from router.workers import Workers

LONGEST_WAIT = 30.0
"""Seconds that a question about a revision may be kept."""


class Admin:
    def __init__(
        self,
        *,
        router: Callable[[], Router],
        rows: Rows,
        workers: Workers,
        collector: RouterCollector,
        revisions: RevisionCollector,
    ) -> None:
        self.ending = False
        self._router = router
        self._rows = rows
        self._bad = Bad(rows, clock=time.monotonic)
        self._lacks = Lacks(rows, lambda: workers.table, clock=time.monotonic)
        self._workers = workers
        self._collector = collector
        self._revisions = revisions

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/metrics/revisions", self._metrics_by_revision)
        application.router.add_get("/counters", self._counters)
        application.router.add_get("/failing", self._failing)
        application.router.add_get("/lacking", self._lacking)
        application.router.add_get("/applied", self._applied)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self.ending:
            return web.Response(status=503, text="draining\n")
        if not self._workers.ready:
            return web.Response(status=503, text="not every worker takes requests\n")
        return web.Response(text="ready\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        self._collector.look()
        return await _exposed(self._collector)

    async def _metrics_by_revision(self, _: web.Request) -> web.Response:
        self._revisions.look()
        return await _exposed(self._revisions)

    async def _counters(self, request: web.Request) -> web.Response:
        functions = request.query.getall("function", [])
        router, rows = self._router(), [row for name in functions for row in self._rows.tell(name)]
        nodes = [row for name in functions for row in self._workers.nodes.of(name)]
        return _json(Counters(router=router.name, boot=router.boot, rows=rows, nodes=nodes))

    async def _failing(self, request: web.Request) -> web.Response:
        try:
            look = int(request.query.get("since", "0"))
            wait = min(float(request.query.get("wait", "0")), LONGEST_WAIT)
        except ValueError:
            return web.Response(status=400, text="since is a whole number, wait a number of seconds\n")
        return _json(await self._bad.since(look, wait=wait))

    async def _lacking(self, request: web.Request) -> web.Response:
        try:
            wait = min(float(request.query.get("wait", "0")), LONGEST_WAIT)
        except ValueError:
            return web.Response(status=400, text="wait is a number of seconds\n")
        return _json(Lacking(versions=await self._lacks.told(wait=wait)))

    async def _applied(self, request: web.Request) -> web.Response:
        subject = request.query.get("subject", "aliases")
        try:
            revision = int(request.query.get("revision", "0"))
            wait = min(float(request.query.get("wait", "0")), LONGEST_WAIT)
        except ValueError:
            return web.Response(status=400, text="revision is a whole number, wait a number of seconds\n")
        if subject not in {"aliases", "endpoints"}:
            return web.Response(status=400, text="subject is aliases or endpoints\n")
        try:
            async with asyncio.timeout(wait):
                while getattr(self._workers.applied, subject) < revision:
                    await self._workers.news()
        except TimeoutError:
            return _json(self._told(), status=202)
        return _json(self._told())

    def _told(self) -> Applied:
        applied = self._workers.applied
        return Applied(aliases=applied.aliases, endpoints=applied.endpoints)


async def _exposed(collector: Collector) -> web.Response:
    registry = CollectorRegistry()
    registry.register(collector)
    body = await asyncio.to_thread(generate_latest, registry)  # changes of weights do not wait for it
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _json(model: Model, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(model), content_type="application/json")
