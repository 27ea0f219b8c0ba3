"""What surrounds a controller, played on real sockets by one process: a node whose agent has everything ready at once,
and a router that has and counts everything."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from aiohttp import web

from hotswap.metrics import Applied, Count, CounterRow, Counters, Failing, Failure, Tally
from hotswap.mirror import Mirror, mirrored
from hotswap.model import Alias, Endpoint, Node, Router, encode
from hotswap.rpc import agent_pb2, agent_pb2_grpc, wire
from hotswap.store import Gone, Store, Stored

TTL = timedelta(seconds=30)
NODE = "node-1"
INVOCATIONS = 1000
FAILURES = 2
"""Among them, where every version fails now and then: within the limits."""
LONG_POLL = 1.0
"""Seconds after which the router says that nothing has failed."""
WRITES = 60
"""In one transaction."""


class PlayedAgent(agent_pb2_grpc.AgentServicer):
    """Everything is ready as soon as it is assigned."""

    async def Apply(  # noqa: N802 - named by the wire
        self, request: agent_pb2.ApplyRequest, context: Any
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        for number in request.versions:
            yield agent_pb2.InstanceProgress(
                node=NODE, function=request.function, version=number, state=agent_pb2.INSTANCE_STATE_READY
            )

    def Swap(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    Drain = Status = Logs = Swap


async def serve_assignments(store: Store, lease: int) -> None:
    """Publishes an endpoint for each version that is assigned, and takes it back with the assignment."""
    published: dict[str, set[int]] = {}
    async with store.assignments.watch(NODE) as batches:
        async for batch in batches:
            changes = []
            for change in batch.changes:
                function = change.value.function if isinstance(change, Stored) else change.parts[-1]
                wanted = set(change.value.versions) if isinstance(change, Stored) else set()
                if isinstance(change, Stored | Gone):
                    had = published.get(function, set())
                    changes += [(function, version, True) for version in wanted - had]
                    changes += [(function, version, False) for version in had - wanted]
                    published[function] = wanted
            await announce(store, lease, changes)


async def announce(store: Store, lease: int, changes: list[tuple[str, int, bool]]) -> None:
    for begin in range(0, len(changes), WRITES):
        transaction = store.transaction()
        for function, version, wanted in changes[begin : begin + WRITES]:
            endpoint = Endpoint(
                function=function,
                version=version,
                instance=f"{NODE}-{version}",
                node=NODE,
                address="127.0.0.1:9",
                concurrency=1,
            )
            if wanted:
                transaction.announce(endpoint, lease=lease)
            else:
                transaction.withdraw(endpoint)
        await transaction.commit()


class Applying:
    """Who waits until a mirror has a revision: each is woken once, by the change that brings it."""

    def __init__(self, mirror: Mirror[Any]) -> None:
        self.mirror = mirror
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asked = 0

    async def until(self, revision: int) -> None:
        if self.mirror.revision < revision:
            self._asked += 1
            waiter = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (revision, self._asked, waiter))
            await waiter

    async def run(self) -> None:
        while True:
            await self.mirror.changed()
            while self._waiting and self._waiting[0][0] <= self.mirror.revision:
                _, _, waiter = heapq.heappop(self._waiting)
                if not waiter.done():
                    waiter.set_result(None)


class PlayedRouter:
    def __init__(self, store: Store, aliases: Mirror[Alias], endpoints: Mirror[Endpoint], *, failing: bool) -> None:
        self._store = store
        self._aliases = aliases
        self.applying = {"aliases": Applying(aliases), "endpoints": Applying(endpoints)}
        self._failing = failing
        counts = Tally.zero().counts
        counts[Count.STATUS] = FAILURES if failing else 0
        counts[Count.OK] = INVOCATIONS - counts[Count.STATUS]
        self._tally = Tally(counts=counts)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/applied", self._applied)
        app.router.add_get("/counters", self._counters)
        app.router.add_get("/failing", self._told_failing)
        return app

    async def _applied(self, request: web.Request) -> web.Response:
        await self.applying[request.query["subject"]].until(int(request.query["revision"]))
        told = {subject: it.mirror.revision for subject, it in self.applying.items()}
        return web.Response(body=encode(Applied(**told)))

    async def _counters(self, request: web.Request) -> web.Response:
        """Every version has answered well, as often as it takes to judge it."""
        rows = [row for function in request.query.getall("function") for row in self._rows(function)]
        return web.Response(body=encode(Counters(router="r1", boot="1", rows=rows)))

    async def _told_failing(self, _: web.Request) -> web.Response:
        """At worst everything that has traffic had a bad invocation since the last question."""
        if not self._failing:
            await asyncio.sleep(LONG_POLL)
        failures = [
            Failure(function=stored.value.function, alias=stored.value.name, version=version)
            for stored in (self._aliases if self._failing else ())
            for version, weight in stored.value.weights.items()
            if weight
        ]
        return web.Response(body=encode(Failing(look=1, failures=failures)))

    def _rows(self, function: str) -> list[CounterRow]:
        stored = self._aliases.get(self._store.aliases.key(function, "production"))
        weights = stored.value.weights if stored else {}
        revision = stored.mod_revision if stored else 0
        return [
            CounterRow(
                function=function, alias="production", version=version, alias_revision=revision, tally=self._tally
            )
            for version in weights
        ]


@asynccontextmanager
async def surroundings(store: Store, *, failing: bool) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        lease = await store.kv.grant(TTL)
        register = {"hotswap.v1.Agent": lambda it: agent_pb2_grpc.add_AgentServicer_to_server(PlayedAgent(), it)}
        server, port = await wire.start("127.0.0.1:0", register)
        stack.push_async_callback(server.stop, None)
        aliases = await stack.enter_async_context(mirrored(store.aliases))
        endpoints = await stack.enter_async_context(mirrored(store.endpoints))
        played = PlayedRouter(store, aliases, endpoints, failing=failing)
        runner = web.AppRunner(played.app(), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        admin = f"127.0.0.1:{runner.addresses[0][1]}"
        node = Node(name=NODE, address=f"127.0.0.1:{port}", boot="1")
        router = Router(name="r1", address="127.0.0.1:9", admin=admin, boot="1")
        await store.transaction().announce(node, lease=lease.id).announce(router, lease=lease.id).commit()
        work = [serve_assignments(store, lease.id), *(it.run() for it in played.applying.values())]
        tasks = [asyncio.create_task(it) for it in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await lease.revoke()
