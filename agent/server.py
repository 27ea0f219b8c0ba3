"""The agent of one node: what it consists of, and the order in which that begins and ends.

Begin: take up the instances that an earlier agent left, then follow the assignments, then announce the node once gRPC
answers. End, on SIGTERM: withdraw everything, drain and stop every instance, leave. A second SIGTERM hurries. An agent
that is killed ends nothing: its instances go on and the next agent adopts them.
"""

import asyncio
import fcntl
import logging
import os
import resource
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Set
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from pathlib import Path
from random import SystemRandom
from typing import Any

import aiohttp

from agent import cgroups, crew, orphans, packages, sandbox
from agent.admin import answering
from agent.artifacts import Artifacts
from agent.cgroups import Groups
from agent.exposition import AgentCollector
from agent.fence import HighestFence
from agent.incidents import Incidents
from agent.instance import Instance
from agent.launcher import Launcher
from agent.ledger import Ledger
from agent.limits import Watch, guards
from agent.nodes import Announcer
from agent.output import Outputs
from agent.proven import Proven
from agent.records import Records
from agent.resources import used
from agent.service import NAME, AgentService
from agent.spawn import Spawner
from agent.supervisor import Supervisor
from agent.tools import Tools
from agent.zygotes import Zygotes
from hotswap import etcd
from hotswap.admin import admin_ports
from hotswap.errors import HotswapError, NotFound, Refused, Unavailable
from hotswap.kv import KV
from hotswap.mirror import mirrored
from hotswap.model import Node, Version
from hotswap.routers import Routers
from hotswap.rpc import agent_pb2_grpc, wire
from hotswap.runtimes import HERE
from hotswap.settings import AgentSettings, host_and_port
from hotswap.store import Store

log = logging.getLogger(__name__)

STORE_LIMIT = 15.0
"""Seconds that an agent which ends waits for its endpoints to be withdrawn, when the store is away."""
CALLS_GRACE = 1.0
"""Seconds that gRPC calls may go on when the agent ends."""
MIB = 1 << 20


async def run(settings: AgentSettings) -> None:
    """Until SIGTERM or SIGINT, and all is drained and reaped."""
    ending, hurry = asyncio.Event(), asyncio.Event()
    _open_many_files()
    with locked(settings.state_dir), signals(ending, hurry):
        store = etcd.connect(settings.etcd)
        try:
            await Agent(settings, store, hurry=hurry).serve(ending)
        except ExceptionGroup as failures:
            raise _told(failures) from failures
        finally:
            await store.close()


def _told(failures: ExceptionGroup[Exception]) -> Exception:
    """What a person can do something about, out of the groups that it was raised through; else all of it."""
    told, other = failures.split(HotswapError)
    if told is None or other is not None:
        return failures
    first: Exception = told
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first


class Agent:
    def __init__(self, settings: AgentSettings, store: KV, *, hurry: asyncio.Event) -> None:
        self._settings = settings
        self._store = Store(store)
        self._hurry = hurry
        self._announcer = Announcer(self._store, settings.name)
        self._records = Records(settings.state_dir / "instances")
        self._outputs = Outputs(settings.state_dir / "logs")
        self._ledger = Ledger()
        self._groups = Groups(cgroups.detect() if settings.cgroups else [], settings.state_dir)
        self._bwrap = sandbox.chosen(settings.isolation)
        self._guards = guards(self._groups) | {"isolation": "bwrap" if self._bwrap else "process"}
        self._incidents = Incidents()
        self._versions: dict[tuple[str, int], Version] = {}
        self._artifacts = Artifacts(
            settings.state_dir / "artifacts",
            self._leader,
            bytecode=settings.state_dir / "bytecode",
            token=settings.token,
        )
        self._routers: asyncio.Future[Routers] = asyncio.get_running_loop().create_future()

    async def serve(self, ending: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as session, self._forking() as zygotes, asyncio.TaskGroup() as slots:
            launcher = self._launcher(session, zygotes)
            supervisor = Supervisor(self._tools(launcher), self._outputs, slots)
            adopted = await launcher.adopt_all()
            self._versions |= {(it.version.function, it.version.number): it.version for it in adopted}
            await self._taken_over(adopted)
            supervisor.adopt(adopted)
            async with background(
                self._announcer.run(),
                Watch(self._groups, self._incidents).run(lambda: chain(launcher.starting, supervisor.instances())),
                crew.watch(supervisor.crews),
                orphans.watch(lives=self._records.has, zygotes=zygotes, groups=self._groups),
                _kept(zygotes, lambda: self._packages_in_use(supervisor)),
                self._artifacts.tidy(in_use=lambda: self._in_use(supervisor), space=self._settings.cache * MIB),
                self._follow_assignments(supervisor),
                self._follow_routers(),
            ):
                await self._announced(supervisor, ending)
            for task in supervisor.left():
                task.cancel()
        if not self._settings.keep_instances:
            await self._announcer.close()

    async def _taken_over(self, adopted: list[Instance]) -> None:
        self._ledger.adopted(adopted, await asyncio.to_thread(used, [it.process.pid for it in adopted]))

    async def _announced(self, supervisor: Supervisor, ending: asyncio.Event) -> None:
        """Answers calls and is known as a node, until the agent ends."""
        fence = HighestFence(self._settings.state_dir / "fence")
        service = AgentService(self._settings.name, supervisor, fence, self._outputs, self._incidents, self._guards)
        server, port = await wire.start(
            self._settings.bind, {NAME: lambda it: agent_pb2_grpc.add_AgentServicer_to_server(service, it)}
        )
        try:
            async with answering(self._settings.admin, AgentCollector(supervisor, self._ledger)) as admin:
                self._announcer.announce(self._node(port))
                log.info("node %s answers on port %d; its /metrics is at %s", self._settings.name, port, admin)
                log.info("instances are kept by: %s", ", ".join(f"{what} {by}" for what, by in self._guards.items()))
                await ending.wait()
                if not self._settings.keep_instances:
                    await self._withdrawn(supervisor)
        finally:
            await server.stop(CALLS_GRACE)

    async def _withdrawn(self, supervisor: Supervisor) -> None:
        log.info("ending: withdrawing, draining and stopping every instance")
        self._announcer.withdraw_all()
        patience = asyncio.get_running_loop().call_later(STORE_LIMIT, self._announcer.give_up)
        try:
            await supervisor.close()
        finally:
            patience.cancel()

    async def _follow_assignments(self, supervisor: Supervisor) -> None:
        async with mirrored(self._store.assignments, self._settings.name) as mirror:
            while True:
                assignments = {it.value.function: (it.value.versions, it.mod_revision) for it in mirror}
                supervisor.assign(assignments, mirror.revision)
                await mirror.changed()

    async def _follow_routers(self) -> None:
        async with mirrored(self._store.routers) as mirror, admin_ports() as admin:
            self._routers.set_result(Routers(self._store.routers, mirror, admin))
            await asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def _forking(self) -> AsyncIterator[Zygotes | None]:
        settings = self._settings
        if not settings.zygote or self._bwrap:
            yield None
            return
        zygotes = Zygotes(
            self._groups, preload=settings.preload, most=settings.zygotes, bytecode=settings.state_dir / "bytecode"
        )
        try:
            yield zygotes
        finally:
            await zygotes.close()

    def _launcher(self, session: aiohttp.ClientSession, zygotes: Zygotes | None) -> Launcher:
        settings = self._settings
        spawner = Spawner(
            node=settings.name,
            host=settings.instance_host,
            state_dir=settings.state_dir,
            records=self._records,
            outputs=self._outputs,
            groups=self._groups,
            zygotes=zygotes,
            bwrap=self._bwrap,
        )
        return Launcher(spawner, session, self._records, self._incidents)

    def _tools(self, launcher: Launcher) -> Tools:
        return Tools(
            node=self._settings.name,
            artifacts=self._artifacts,
            launcher=launcher,
            proven=Proven(self._settings.state_dir / "proven"),
            announcer=self._announcer,
            version=self._version,
            known=self._known,
            random=SystemRandom(),
            ledger=self._ledger,
            hurry=self._hurry,
        )

    async def _leader(self) -> str:
        leader = await self._store.leader.get("controller")
        if leader is None:
            raise Unavailable("no controller leads")
        return leader.value.address

    async def _version(self, function: str, number: int) -> Version:
        """Versions never change, so one that was read once needs no store."""
        if (function, number) not in self._versions:
            stored = await self._store.versions.get(function, number)
            if stored is None:
                raise NotFound(f'version {number} of "{function}" does not exist')
            self._versions[function, number] = stored.value
        return self._versions[function, number]

    def _in_use(self, supervisor: Supervisor) -> set[str]:
        """The digests of what has a slot. A slot knows its version before it asks for the files."""
        slots = ((slot.function, slot.version) for slot in supervisor.slots())
        return {self._versions[slot].artifact for slot in slots if slot in self._versions}

    def _packages_in_use(self, supervisor: Supervisor) -> set[Path]:
        found = (packages.of(self._artifacts.path(digest)) for digest in self._in_use(supervisor))
        return {one for one in found if one}

    async def _known(self, revision: int) -> None:
        routers = await asyncio.shield(self._routers)
        await routers.applied("endpoints", revision)

    def _node(self, port: int) -> Node:
        settings = self._settings
        host, _ = host_and_port(settings.bind, option="--bind")
        capacity = settings.capacity or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
        return Node(
            name=settings.name,
            address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            capacity=capacity,
            labels=dict(settings.labels),
            boot=secrets.token_hex(8),
            guards=self._guards,
            platform=HERE.platform,
            python=HERE.python,
        )


def _open_many_files() -> None:
    """Each instance that sleeps is a socket, each that serves two files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _kept(zygotes: Zygotes | None, in_use: Callable[[], Set[Path]]) -> None:
    """The first one at once, so that no instance need wait for it; those of packages as long as these are in use."""
    if zygotes:
        await zygotes.platform.warm()
        await zygotes.tidy(in_use)


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work that goes on beside the body; its failure ends the body, the body's end ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        yield
        for task in tasks:
            task.cancel()


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """One agent a state directory: two would take each other's instances away."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # the environments of functions may hold secrets
    with (state_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another agent works in {state_dir}", hint="give each agent its own --state-dir") from None
        yield


@contextmanager
def signals(ending: asyncio.Event, hurry: asyncio.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT sets `ending`, the next one `hurry`."""
    loop = asyncio.get_running_loop()

    def received() -> None:
        (hurry if ending.is_set() else ending).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
