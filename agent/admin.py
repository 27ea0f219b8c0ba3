"""The admin port of an agent.

/healthz    200 while the agent lives
/metrics    for Prometheus
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from agent.exposition import AgentCollector
from hotswap.errors import Unavailable
from hotswap.settings import host_and_port


class Admin:
    def __init__(self, collector: AgentCollector) -> None:
        self._collector = collector
        self._registry = CollectorRegistry()
        self._registry.register(collector)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/metrics", self._metrics)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        await self._collector.look()
        body = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def answering(bind: str, collector: AgentCollector) -> AsyncIterator[str]:
    """Until the context ends; gives the address. Raises `Unavailable` for one that cannot be had."""
    host, port = host_and_port(bind, option="--admin")
    runner = web.AppRunner(Admin(collector).application(), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise Unavailable(f"cannot listen on {bind}: {error.strerror}", hint="choose another --admin") from error
        port = runner.addresses[0][1]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        await runner.cleanup()
