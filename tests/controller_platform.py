"""A platform around the real controller: agents and routers are small servers of the tests', on real sockets.

An agent makes its assignment so by publishing endpoints; a router has what its watch told it, and counts what the test
says a version does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from aiohttp import web

from controller.server import Controller
from hotswap import requests
from hotswap.aws_keys import AccessKeys
from hotswap.deployment import Deployment
from hotswap.kv import KV
from hotswap.metrics import Applied, Count, CounterRow, Counters, Failing, Failure, Lacking, Named, Tally
from hotswap.mirror import Mirror, mirrored
from hotswap.model import Alias, Endpoint, Function, Kind, Manifest, Node, Router, Version, encode
from hotswap.rpc import agent_pb2, agent_pb2_grpc, controller_pb2_grpc, wire
from hotswap.rpc import controller_pb2 as pb
from hotswap.runtimes import HERE, Runtime
from hotswap.settings import ControllerSettings
from hotswap.store import Store

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub

FUNCTION = "image-processor"
ALIAS = "production"
LIMIT = 60.0
"""Seconds that anything in these tests may take."""
INVOCATIONS = 1000
"""What a router counts for every version with traffic under one set of weights."""
TTL = timedelta(seconds=10)


def now() -> datetime:
    return datetime.now(UTC)


def version(number: int, **manifest: Any) -> Version:
    return Version(
        function=FUNCTION,
        number=number,
        artifact="0" * 64,
        size=1,
        manifest=Manifest(function=FUNCTION, kind=Kind.HANDLER, entrypoint="app:handler", **manifest),
        published=now(),
    )


def canary(number: int, *, seconds: float = 0.1, increments: list[int] | None = None, **config: Any) -> requests.Canary:
    return requests.Canary(
        function_name=FUNCTION,
        version=number,
        config=requests.CanaryConfig(
            canary_duration=timedelta(seconds=seconds), canary_increments=increments or [10, 50, 100], **config
        ),
    )


def all_at_once(number: int) -> requests.AllAtOnce:
    return requests.AllAtOnce(function_name=FUNCTION, version=number)


@dataclass
class Behaviour:
    """What the versions do, as the test says."""

    broken: dict[int, str] = field(default_factory=dict)
    """Versions that do not start, with what the agent says of them."""
    failing: dict[int, float] = field(default_factory=dict)
    """Share of errors of a version."""
    silent: set[int] = field(default_factory=set)
    """Versions that nobody invokes."""
    named: set[int] = field(default_factory=set)
    """Versions that are invoked by their number."""
    deaf_routers: bool = False
    """Routers never take new weights."""


class ScriptedAgent(agent_pb2_grpc.AgentServicer):
    def __init__(self, name: str, store: Store, behaviour: Behaviour) -> None:
        self.name = name
        self.fences: list[int] = []
        self.hangs: set[int] = set()
        """Versions that never become ready here."""
        self._store = store
        self._behaviour = behaviour

    async def Apply(  # noqa: N802 - named by the wire
        self, request: agent_pb2.ApplyRequest, context: Any
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        self.fences.append(request.fence)
        for number in request.versions:
            failed = number in self._behaviour.broken
            yield agent_pb2.InstanceProgress(
                node=self.name,
                function=request.function,
                version=number,
                state=agent_pb2.INSTANCE_STATE_FAILED if failed else agent_pb2.INSTANCE_STATE_READY,
                text=self._behaviour.broken.get(number, ""),
            )

    def Swap(self, request: Any, context: Any) -> Any:  # noqa: N802 - named by the wire
        raise AssertionError("not called")

    def Drain(self, request: Any, context: Any) -> Any:  # noqa: N802 - named by the wire
        raise AssertionError("not called")

    def Status(self, request: Any, context: Any) -> Any:  # noqa: N802 - named by the wire
        raise AssertionError("not called")

    def Logs(self, request: Any, context: Any) -> Any:  # noqa: N802 - named by the wire
        raise AssertionError("not called")

    async def run(self, lease: int) -> None:
        async with mirrored(self._store.assignments, self.name) as assignments:
            published: set[tuple[str, int]] = set()
            while True:
                wanted = {
                    (stored.value.function, number)
                    for stored in assignments
                    for number in stored.value.versions
                    if number not in self._behaviour.broken and number not in self.hangs
                }
                for function, number in wanted - published:
                    await self._store.transaction().announce(self._endpoint(function, number), lease=lease).commit()
                for function, number in published - wanted:
                    await self._store.transaction().withdraw(self._endpoint(function, number)).commit()
                published = wanted
                await assignments.changed()

    def _endpoint(self, function: str, number: int) -> Endpoint:
        return Endpoint(
            function=function,
            version=number,
            instance=f"{self.name}-{number}",
            node=self.name,
            address="127.0.0.1:9",
            concurrency=1,
        )


class ScriptedRouter:
    def __init__(self, name: str, behaviour: Behaviour, aliases: Mirror[Alias], endpoints: Mirror[Endpoint]) -> None:
        self.name = name
        self.boot = "1"
        self._behaviour = behaviour
        self._mirrors: dict[str, Mirror[Any]] = {"aliases": aliases, "endpoints": endpoints}
        self._aliases = aliases

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/applied", self._applied)
        app.router.add_get("/counters", self._counters)
        app.router.add_get("/failing", self._failing)
        app.router.add_get("/lacking", self._lacking)
        return app

    async def _applied(self, request: web.Request) -> web.Response:
        mirror, revision = self._mirrors[request.query["subject"]], int(request.query["revision"])
        deaf = self._behaviour.deaf_routers and request.query["subject"] == "aliases"
        try:
            async with asyncio.timeout(0.2):
                await mirror.until(lambda it: not deaf and it.revision >= revision)
        except TimeoutError:
            return web.Response(status=202)
        applied = Applied(aliases=self._aliases.revision, endpoints=self._mirrors["endpoints"].revision)
        return web.Response(body=encode(applied))

    async def _counters(self, request: web.Request) -> web.Response:
        rows = [
            CounterRow(
                function=stored.value.function,
                alias=stored.value.name,
                version=number,
                alias_revision=stored.mod_revision,
                tally=self._tally(number),
            )
            for stored in self._aliases
            if stored.value.function in request.query.getall("function")
            for number in stored.value.weights
        ]
        return web.Response(body=encode(Counters(router=self.name, boot=self.boot, rows=rows)))

    async def _failing(self, _: web.Request) -> web.Response:
        """What fails does so again and again."""
        await asyncio.sleep(0.2)
        failures = [
            Failure(function=stored.value.function, alias=stored.value.name, version=number)
            for stored in self._aliases
            for number, weight in stored.value.weights.items()
            if weight and self._behaviour.failing.get(number)
        ]
        return web.Response(body=encode(Failing(look=0, failures=failures)))

    async def _lacking(self, _: web.Request) -> web.Response:
        """Who names a version waits until it has an endpoint."""
        await asyncio.sleep(0.1)
        there = {stored.value.version for stored in self._mirrors["endpoints"]}
        named = [Named(function=FUNCTION, version=number) for number in self._behaviour.named - there]
        return web.Response(body=encode(Lacking(versions=named)))

    def _tally(self, number: int) -> Tally:
        counts = Tally.zero().counts
        if number not in self._behaviour.silent:
            errors = round(INVOCATIONS * self._behaviour.failing.get(number, 0))
            counts[Count.STATUS], counts[Count.OK] = errors, INVOCATIONS - errors
        return Tally(counts=counts)


class Platform:
    """Nodes, routers and what they do; controllers are added by `leading`."""

    def __init__(self, kv: KV, folder: Path) -> None:
        self.kv = kv
        self.store = Store(kv)
        self.behaviour = Behaviour()
        self.folder = folder
        self.runtime = HERE
        """What nodes say that packages have to fit."""
        self.agents: dict[str, ScriptedAgent] = {}
        self.admin = ""
        """The token of an admin; controllers that are added later ask for one, if there is any."""
        self.aws_keys: AccessKeys = {}
        """Of those controllers too."""
        self.bucket = ""
        """Where controllers that are added later keep archives, if not in the folder."""

    @asynccontextmanager
    async def node(self, name: str, **labels: str) -> AsyncIterator[ScriptedAgent]:
        agent = self.agents[name] = ScriptedAgent(name, self.store, self.behaviour)
        register: dict[str, Callable[[grpc.aio.Server], None]] = {
            "hotswap.v1.Agent": lambda server: agent_pb2_grpc.add_AgentServicer_to_server(agent, server)
        }
        server, port = await wire.start("127.0.0.1:0", register)
        lease = await self.kv.grant(TTL)
        work = asyncio.create_task(agent.run(lease.id))
        node = Node(
            name=name,
            address=f"127.0.0.1:{port}",
            labels=labels,
            boot="1",
            platform=self.runtime.platform,
            python=self.runtime.python,
        )
        try:
            await self.store.transaction().announce(node, lease=lease.id).commit()
            yield agent
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await lease.revoke()
            await server.stop(None)

    @asynccontextmanager
    async def router(self, name: str) -> AsyncIterator[ScriptedRouter]:
        async with mirrored(self.store.aliases) as aliases, mirrored(self.store.endpoints) as endpoints:
            router = ScriptedRouter(name, self.behaviour, aliases, endpoints)
            runner = web.AppRunner(router.app(), access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            _, port = runner.addresses[0]
            lease = await self.kv.grant(TTL)
            record = Router(name=name, address="127.0.0.1:9", admin=f"127.0.0.1:{port}", boot=router.boot)
            try:
                await self.store.transaction().announce(record, lease=lease.id).commit()
                yield router
            finally:
                await lease.revoke()
                await runner.cleanup()

    @asynccontextmanager
    async def leading(self, name: str = "c1", *, kv: KV | None = None) -> AsyncIterator["ControllerAsyncStub"]:
        """A controller that runs and leads."""
        async with self.running(name, kv=kv):
            leader = await self.leader(by=name)
            async with wire.channel(leader) as channel:
                yield controller_pb2_grpc.ControllerStub(channel)

    @asynccontextmanager
    async def running(self, name: str, *, kv: KV | None = None) -> AsyncIterator[None]:
        """A controller that leads when it can."""
        work = asyncio.create_task(self._controller(name, kv or self.kv).run(), name=name)
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    @asynccontextmanager
    async def standing_by(self, name: str) -> AsyncIterator["ControllerAsyncStub"]:
        """A controller that only answers."""
        async with self._controller(name, self.kv).serving() as address, wire.channel(address) as channel:
            yield controller_pb2_grpc.ControllerStub(channel)

    @asynccontextmanager
    async def resting(self, name: str = "c1", *, kv: KV | None = None) -> AsyncIterator[str]:
        """The REST address of a controller that only answers."""
        async with self._controller(name, kv or self.kv).serving_rest() as address:
            yield address

    def _controller(self, name: str, kv: KV) -> Controller:
        settings = ControllerSettings(
            name=name,
            artifacts=self.folder / "artifacts",
            bucket=self.bucket,
            auth=bool(self.admin),
            admin_tokens=(self.admin,) if self.admin else (),
            aws_keys=self.aws_keys,
        )
        return Controller(store=Store(kv), settings=settings)

    async def deploy(self, api: "ControllerAsyncStub", request: requests.AnyRequest) -> str:
        """The id of the deployment that begins; raises the controller's refusal."""
        with wire.calling("the controller"):
            return (await api.Deploy(pb.DeployRequest(request_json=encode(request).decode()))).id

    async def deployed(self, api: "ControllerAsyncStub", request: requests.AnyRequest) -> Deployment:
        """The deployment when it has ended."""
        return await self.ended(await self.deploy(api, request))

    async def leader(self, *, by: str) -> str:
        async with asyncio.timeout(LIMIT), mirrored(self.store.leader) as leaders:
            stored = await leaders.until(lambda it: next((one for one in it if one.value.controller == by), None))
            return stored.value.address

    def hang(self, node: str, number: int) -> None:
        self.agents[node].hangs.add(number)

    async def publish(self, *numbers: int, **manifest: Any) -> None:
        function = Function(name=FUNCTION, created=now(), last_version=max(numbers))
        transaction = self.store.transaction().announce(function, lease=0)
        for number in numbers:
            transaction.create(version(number, **manifest))
        await transaction.commit()

    async def ended(self, name: str) -> Deployment:
        return await self.until(name, lambda it: it.status.terminal)

    async def until(self, name: str, holds: Callable[[Deployment], bool]) -> Deployment:
        key = self.store.deployments.key(name)
        async with asyncio.timeout(LIMIT), mirrored(self.store.deployments) as deployments:

            def found(mirror: Mirror[Deployment]) -> Deployment | None:
                stored = mirror.get(key)
                return stored.value if stored and holds(stored.value) else None

            return await deployments.until(found)

    async def alias(self, name: str = ALIAS) -> Alias:
        stored = await self.store.aliases.get(FUNCTION, name)
        assert stored
        return stored.value

    async def assigned(self, node: str) -> set[int]:
        stored = await self.store.assignments.get(node, FUNCTION)
        return set(stored.value.versions) if stored else set()

    async def assigned_becomes(self, node: str, versions: set[int]) -> None:
        async with asyncio.timeout(LIMIT), mirrored(self.store.assignments, node) as assignments:
            await assignments.until(lambda it: {n for one in it for n in one.value.versions} == versions)

    async def events(self, name: str) -> list[str]:
        return [f"{one.value.kind}: {one.value.text}" for one in await self.store.events.list(name)]


@asynccontextmanager
async def platform(
    kv: KV, folder: Path, *, nodes: int = 2, routers: int = 1, runtime: Runtime = HERE
) -> AsyncIterator[Platform]:
    """Nodes n1, n2 … and routers r1, r2 …, with versions 1 to 3 published; no controller yet."""
    made = Platform(kv, folder)
    made.runtime = runtime
    async with AsyncExitStack() as stack:
        for i in range(nodes):
            await stack.enter_async_context(made.node(f"n{i + 1}"))
        for i in range(routers):
            await stack.enter_async_context(made.router(f"r{i + 1}"))
        await made.publish(1, 2, 3)
        yield made
