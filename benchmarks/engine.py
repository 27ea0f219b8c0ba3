"""How late a controller on one core decides, with many deployments at once.

A real etcd and a real controller process, which is held to one core. One process on another core plays what surrounds
it, on real sockets: a node whose agent has everything ready at once, a router that has and counts everything, and the
people who deploy. Every function gets a canary, all within a few seconds; each of its phases ends at a time that
stands in its record, and so does the time at which the controller decided about it. The difference is what is told.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import psutil
import uvloop
from aiohttp import web

from benchmarks.propagation import quantiles
from hotswap import etcd
from hotswap.deployment import Bake, Deployment, Status
from hotswap.etcd.local import running
from hotswap.metrics import Applied, Count, CounterRow, Counters, Tally
from hotswap.mirror import Mirror, mirrored
from hotswap.model import Alias, Endpoint, Function, Kind, Manifest, Node, Router, Version, encode
from hotswap.requests import Canary, CanaryConfig
from hotswap.rpc import agent_pb2, agent_pb2_grpc, wire
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from hotswap.settings import EtcdSettings
from hotswap.store import Gone, Store, Stored

TTL = timedelta(seconds=30)
NODE = "node-1"
PHASES = [5, 10, 25, 50, 75, 100]
INVOCATIONS = 1000
WRITES = 60
"""In one transaction."""
AT_ONCE = 16
"""People who deploy at the same time."""
LIMIT = 600.0
"""Seconds for the whole."""


def now() -> datetime:
    return datetime.now(UTC)


def name_of(number: int) -> str:
    return f"function-{number}"


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

    def Drain(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    def Status(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    def Logs(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")


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


@dataclass
class PlayedRouter:
    aliases: Mirror[Alias]
    endpoints: Mirror[Endpoint]
    store: Store
    functions: dict[str, list[str]] = field(default_factory=dict)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/applied", self._applied)
        app.router.add_get("/counters", self._counters)
        return app

    async def _applied(self, request: web.Request) -> web.Response:
        mirror = self.aliases if request.query["subject"] == "aliases" else self.endpoints
        revision = int(request.query["revision"])
        await mirror.until(lambda it: it.revision >= revision)
        return web.Response(body=encode(Applied(aliases=self.aliases.revision, endpoints=self.endpoints.revision)))

    async def _counters(self, request: web.Request) -> web.Response:
        """The new version has answered well, as often as it takes to judge it."""
        stored = self.aliases.get(self.store.aliases.key(request.query["function"], "production"))
        counts = Tally.zero().counts
        counts[Count.OK] = INVOCATIONS
        rows = [
            CounterRow(
                function=stored.value.function,
                alias=stored.value.name,
                version=version,
                alias_revision=stored.mod_revision,
                tally=Tally(counts=counts),
            )
            for version in (stored.value.weights if stored else ())
            if stored
        ]
        return web.Response(body=encode(Counters(router="r1", boot="1", rows=rows)))


@asynccontextmanager
async def surroundings(store: Store) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        lease = await store.kv.grant(TTL)
        register = {"hotswap.v1.Agent": lambda it: agent_pb2_grpc.add_AgentServicer_to_server(PlayedAgent(), it)}
        server, port = await wire.start("127.0.0.1:0", register)
        stack.push_async_callback(server.stop, None)
        aliases = await stack.enter_async_context(mirrored(store.aliases))
        endpoints = await stack.enter_async_context(mirrored(store.endpoints))
        runner = web.AppRunner(PlayedRouter(aliases, endpoints, store).app(), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        admin = f"127.0.0.1:{runner.addresses[0][1]}"
        node = Node(name=NODE, address=f"127.0.0.1:{port}", boot="1")
        router = Router(name="r1", address="127.0.0.1:9", admin=admin, boot="1")
        await store.transaction().announce(node, lease=lease.id).announce(router, lease=lease.id).commit()
        serving = asyncio.create_task(serve_assignments(store, lease.id), name="agent")
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await lease.revoke()


async def publish(store: Store, functions: int) -> None:
    """Two versions of each function; the first has the traffic."""
    for number in range(functions):
        name = name_of(number)
        manifest = Manifest(function=name, kind=Kind.HANDLER, entrypoint="app:handler")
        transaction = store.transaction().create(Function(name=name, created=now(), last_version=2))
        transaction.create(Alias(function=name, name="production", weights={1: 100}, last_good=1))
        for version in (1, 2):
            transaction.create(
                Version(function=name, number=version, artifact="0" * 64, size=1, manifest=manifest, published=now())
            )
        await transaction.commit()


@asynccontextmanager
async def controlling(settings: EtcdSettings, folder: Path, store: Store) -> AsyncIterator[tuple[psutil.Process, str]]:
    """A controller held to the last core, and its address."""
    command = ("-m", "hotswap", "controller", "--name", "c1", "--bind", "127.0.0.1:0", "--rest", "127.0.0.1:0")
    where = ("--artifacts", str(folder / "artifacts"), "--etcd", settings.endpoints[0])
    log = (folder / "controller.log").open("wb")
    process = await asyncio.create_subprocess_exec(sys.executable, *command, *where, stdout=log, stderr=log)
    try:
        os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        async with mirrored(store.leader) as leaders:
            leader = await leaders.until(lambda it: next(iter(it), None))
        yield psutil.Process(process.pid), leader.value.address
    finally:
        log.close()
        if process.returncode is not None:
            print((folder / "controller.log").read_text()[-3000:], file=sys.stderr)
            raise RuntimeError(f"the controller has ended by itself, with {process.returncode}")
        process.terminate()
        await process.wait()


async def deploy(address: str, functions: int, spread: float, duration: timedelta) -> None:
    """A canary of each function, begun evenly over the time."""
    config = CanaryConfig(canary_increments=PHASES, canary_duration=duration)
    places, begun = asyncio.Semaphore(AT_ONCE), time.monotonic()

    async def one(stub: Any, number: int) -> None:
        await asyncio.sleep(max(0.0, begun + spread * number / functions - time.monotonic()))
        request = Canary(function_name=name_of(number), version=2, config=config)
        async with places:
            await stub.Deploy(pb.DeployRequest(request_json=encode(request).decode()))

    async with grpc.aio.insecure_channel(address) as channel, asyncio.TaskGroup() as tasks:
        stub = ControllerStub(channel)
        for number in range(functions):
            tasks.create_task(one(stub, number))


@dataclass
class Lateness:
    """Of each decision at the end of a phase, in seconds; told by the records alone."""

    seconds: list[float] = field(default_factory=list)
    known: dict[str, Deployment] = field(default_factory=dict)

    def saw(self, after: Deployment) -> None:
        before = self.known.get(after.id)
        self.known[after.id] = after
        if before is None or not before.steps:
            return
        step, progress = before.steps[before.progress.index], before.progress
        onward = after.progress.index > progress.index or after.status is not before.status
        if isinstance(step, Bake) and onward and progress.observed:
            decided = after.finished or after.progress.entered
            self.seconds.append((decided - progress.observed - step.duration).total_seconds())

    @property
    def ended(self) -> int:
        return sum(one.status.terminal for one in self.known.values())


async def follow(store: Store, functions: int, lateness: Lateness) -> None:
    async with store.deployments.watch() as batches:
        async for batch in batches:
            for change in batch.changes:
                if isinstance(change, Stored):
                    lateness.saw(change.value)
            if lateness.ended == functions:
                return


async def run(functions: int, *, spread: float, duration: timedelta) -> dict[str, Any]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))} if (os.cpu_count() or 1) > 1 else os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as text:
        folder, lateness = Path(text), Lateness()
        async with running(folder / "etcd") as server, AsyncExitStack() as stack:
            settings = EtcdSettings(endpoints=(server.endpoint,))
            connection = etcd.connect(settings)
            stack.push_async_callback(connection.close)
            store = Store(connection)
            await publish(store, functions)
            await stack.enter_async_context(surroundings(store))
            process, address = await stack.enter_async_context(controlling(settings, folder, store))
            async with asyncio.timeout(LIMIT), mirrored(store.endpoints) as endpoints:
                await endpoints.until(lambda it: len(it) == functions)
            following = asyncio.create_task(follow(store, functions, lateness), name="follow")
            revision, cpu, begun = (await store.kv.range("/none/")).revision, process.cpu_times(), time.monotonic()
            async with asyncio.timeout(LIMIT):
                await deploy(address, functions, spread, duration)
                await following
            seconds, used = time.monotonic() - begun, process.cpu_times()
            writes = (await store.kv.range("/none/")).revision - revision
            busy = used.user + used.system - cpu.user - cpu.system
            memory = process.memory_info().rss
    statuses = [one.status for one in lateness.known.values()]
    return {
        "deployments": functions,
        "succeeded": statuses.count(Status.SUCCEEDED),
        "decisions": len(lateness.seconds),
        "latenessMs": quantiles(lateness.seconds),
        "late": sum(one > 1 for one in lateness.seconds),
        "seconds": round(seconds, 1),
        "cpuShare": round(busy / seconds, 3),
        "writesPerSecond": round(writes / seconds, 1),
        "memoryMiB": round(memory / 2**20, 1),
    }


def good(result: dict[str, Any]) -> bool:
    return bool(result["succeeded"] == result["deployments"] and result["late"] == 0)


def main() -> int:
    parser = argparse.ArgumentParser(description="How late a controller decides, with many deployments at once.")
    parser.add_argument("--quick", action="store_true", help="100 deployments with phases of 4 s")
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    quick = (100, 4.0, timedelta(seconds=4))
    functions, spread, duration = quick if options.quick else (options.deployments, 30.0, timedelta(seconds=30))
    result = uvloop.run(run(functions, spread=spread, duration=duration))
    told = "  ".join(f"{key} {value:g}" for key, value in result["latenessMs"].items())
    print(f"{result['succeeded']} of {result['deployments']} deployments succeeded in {result['seconds']:g} s")
    print(f"  {result['decisions']} decisions at the end of a phase, late by, in ms: {told}; {result['late']} over 1 s")
    print(
        f"  the controller used {result['cpuShare']:.0%} of a core and {result['memoryMiB']:g} MiB;"
        f" {result['writesPerSecond']:g} writes a second"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0 if good(result) else 1


if __name__ == "__main__":
    sys.exit(main())
