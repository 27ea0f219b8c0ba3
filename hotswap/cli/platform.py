"""The whole platform on this machine: etcd, a controller, a router and agents, each a process that is kept running.

    async with Platform(state_dir=folder, agents=4) as platform:
        … platform.controller, platform.router …

Used by `hotswap up`, by the demo and by the tests. Everything that lasts is in `state_dir`; a platform on a directory
that was used before goes on where that one stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from hotswap import credentials, etcd
from hotswap.auth import Role
from hotswap.cli import leftovers, running
from hotswap.cli.programs import STOP_LIMITS, Programs
from hotswap.cli.supervised import Command, Program, Supervised, kill_group
from hotswap.deployment import Leader
from hotswap.errors import Unavailable
from hotswap.etcd.local import LocalEtcd
from hotswap.mirror import Mirror, mirrored
from hotswap.model import Node, Router
from hotswap.settings import EtcdSettings, Isolation, PrometheusSettings
from hotswap.store import Store

READY_LIMIT = 60.0
"""Seconds from the start of the services until all have announced themselves."""


class Platform:
    def __init__(
        self,
        *,
        state_dir: Path,
        agents: int = 2,
        workers: int = 2,
        external_etcd: EtcdSettings | None = None,
        controller: str = "127.0.0.1:0",
        rest: str = "127.0.0.1:0",
        router: str = "127.0.0.1:0",
        admin: str = "127.0.0.1:0",
        artifacts: str | None = None,
        isolation: Isolation = "process",
        preload: Sequence[str] = (),
        prometheus: PrometheusSettings | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """The addresses are those to bind; for port 0 one is found, and kept when the service is started again.
        `artifacts`, `isolation` and `preload` are as for `hotswap controller` and `hotswap agent`."""
        self.state_dir = state_dir.absolute()
        self.controller, self.rest, self.router, self.admin = controller, rest, router, admin
        self.token = ""
        """The admin's, from the start on; the next platform in this directory has the same."""
        self.etcd = external_etcd or EtcdSettings()
        self._external = external_etcd is not None
        self._agents = [f"node-{number}" for number in range(1, agents + 1)]
        self._workers = workers
        self._artifacts = artifacts
        self._isolation: Isolation = isolation
        self._preload = preload
        self._prometheus = prometheus
        self._tell = tell
        self._services: dict[str, Supervised] = {}
        self._announced: dict[str, tuple[Mirror[Any], str]] = {}
        """By service: where it announces itself, and under which key."""
        self._stack = AsyncExitStack()
        self._started = asyncio.Event()
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._owner = asyncio.create_task(self._run(), name="platform")
        started = asyncio.create_task(self._started.wait(), name="platform started")
        try:
            await asyncio.wait({self._owner, started}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._owner.cancel()
            await asyncio.wait({self._owner})
            raise
        finally:
            started.cancel()
        if self._owner.done():
            self._owner.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await self._owner

    async def ended(self) -> None:
        """Raises when the platform cannot go on; returns when it was stopped."""
        await asyncio.shield(self._owner)

    @property
    def pids(self) -> dict[str, int]:
        """Of what runs now, by name: etcd, controller, router, node-1, node-2 …"""
        return {name: service.pid for name, service in self._services.items() if service.pid}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Those that have an agent now."""
        found = (mirror.get(key) for mirror, key in (self._announced[name] for name in self._agents))
        return tuple(stored.value for stored in found if stored)

    @property
    def logs(self) -> Path:
        """One file for each service, by its name."""
        return self.state_dir / "logs"

    def kill(self, name: str) -> None:
        """SIGKILL to a service with all that is in its session; it is started again."""
        pid = self._services[name].pid
        assert pid, f"{name} does not run"
        kill_group(pid)

    @asynccontextmanager
    async def down(self, name: str) -> AsyncIterator[None]:
        """Kills a service, and lets it be started again only at the end of the context."""
        service = self._services[name]
        service.hold()
        try:
            self.kill(name)
            yield
        finally:
            service.release()

    def kill_all(self) -> None:
        """For somebody who will not wait for an orderly stop, which has begun."""
        for pid in self.pids.values():
            kill_group(pid)

    async def _run(self) -> None:
        with leftovers.locked(self.state_dir):
            self.logs.mkdir(exist_ok=True)
            await leftovers.stop_leftovers(self.state_dir, self._tell)
            try:
                async with asyncio.TaskGroup() as tasks:
                    try:
                        await self._start(tasks)
                        self._started.set()
                        await self._stopping.wait()
                    finally:
                        await self._stop()
            except BaseExceptionGroup as group:  # of what failed together the first is the cause
                raise group.exceptions[0] from None

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        if not self._external:
            local = LocalEtcd(self.state_dir / "etcd")
            await self._start_one(tasks, "etcd", local)
            self.etcd = EtcdSettings(endpoints=(local.endpoint,))
            self._services["etcd"].ready = True
        store = self._connect()
        since = await self._look_for_announcements(store)
        programs = await self._programs(store)
        for name, arguments in self._commands(programs).items():
            service = "agent" if name in self._agents else name
            command = Command(
                arguments,
                log_file=self.logs / f"{name}.log",
                stop_limit=STOP_LIMITS[service],
                environment=programs.environment(service),
            )
            await self._start_one(tasks, name, command)
        await self._all_ready(since)

    async def _programs(self, store: Store) -> Programs:
        """With an admin's token for the people here, and a viewer's for the agents."""
        admin = self.state_dir / credentials.ADMIN_FILE
        agents = credentials.kept(self.state_dir / credentials.AGENTS_FILE)
        self.token = credentials.kept(admin).text
        await credentials.ensure(store, agents, name="agents", role=Role.VIEWER)
        return Programs(self.state_dir, self.etcd, admin, agents.text)

    def _commands(self, programs: Programs) -> dict[str, Callable[[], list[str]]]:
        return {
            "controller": lambda: programs.controller(
                "controller",
                bind=self.controller,
                rest=self.rest,
                artifacts=self._artifacts,
                prometheus=self._prometheus,
            ),
            "router": lambda: programs.router("router", bind=self.router, admin=self.admin, workers=self._workers),
            **{
                name: partial(programs.agent, name, isolation=self._isolation, preload=self._preload)
                for name in self._agents
            },
        }

    async def _start_one(self, tasks: asyncio.TaskGroup, name: str, program: Program) -> None:
        service = self._services[name] = Supervised(name, program, tell=self._tell, changed=self._write_down)
        await service.start()
        service.keep(tasks)

    def _connect(self) -> Store:
        kv = etcd.connect(self.etcd)
        self._stack.push_async_callback(kv.close)
        return Store(kv)

    async def _look_for_announcements(self, store: Store) -> int:
        """Returns the revision of the store before any service was started: what it tells of them is of dead ones."""
        leader = await self._stack.enter_async_context(mirrored(store.leader))
        routers = await self._stack.enter_async_context(mirrored(store.routers))
        nodes = await self._stack.enter_async_context(mirrored(store.nodes))
        self._announced = {
            "controller": (leader, store.leader.key("controller")),
            "router": (routers, store.routers.key("router")),
            **{name: (nodes, store.nodes.key(name)) for name in self._agents},
        }
        return (await store.kv.range(store.leader.key())).revision

    async def _all_ready(self, since: int) -> None:
        try:
            async with asyncio.timeout(READY_LIMIT):
                await asyncio.gather(*(self._ready(name, since) for name in self._announced))
        except TimeoutError:
            late = [service for service in self._services.values() if not service.ready]
            names = ", ".join(service.name for service in late)
            tails = "\n".join(service.log_tail() for service in late)
            raise Unavailable(f"not ready after {READY_LIMIT:.0f} s: {names}; {tails}") from None
        self._write_down()

    async def _ready(self, name: str, since: int) -> None:
        """Waits until a service has announced itself, and keeps the ports that it has found."""
        mirror, key = self._announced[name]

        def newer(mirror: Mirror[Any]) -> Leader | Router | Node | None:
            stored = mirror.get(key)
            return stored.value if stored and stored.mod_revision > since else None

        match await mirror.until(newer):
            case Leader(address=address, rest=rest):
                self.controller, self.rest = address, rest
            case Router(address=address, admin=admin):
                self.router, self.admin = address, admin
        self._services[name].ready = True

    def _write_down(self) -> None:
        """What runs, for the other commands, and for the next platform in case that this one is killed."""
        processes = {name: found for name, pid in self.pids.items() if (found := running.Process.of(pid))}
        addresses = {"controller": self.controller, "rest": self.rest, "router": self.router, "admin": self.admin}
        ready = len(self._services) > 1 and all(service.ready for service in self._services.values())
        told = running.Running(etcd=self.etcd.endpoints[0], processes=processes, **(addresses if ready else {}))
        running.write(self.state_dir, told)

    async def _stop(self) -> None:
        """Work stops coming first; what all others need goes last. A failure keeps none of them from being stopped."""
        for service in self._services.values():
            service.leave()
        async with AsyncExitStack() as then:  # what is entered last comes first
            then.callback(running.forget, self.state_dir)
            then.push_async_callback(self._sweep)
            then.push_async_callback(self._stop_these, "etcd")
            then.push_async_callback(self._stack.aclose)
            then.push_async_callback(self._stop_these, "controller")
            then.push_async_callback(self._stop_these, *self._agents)
            then.push_async_callback(self._stop_these, "router")

    async def _stop_these(self, *names: str) -> None:
        await asyncio.gather(*(self._services[name].stop() for name in names if name in self._services))

    async def _sweep(self) -> None:
        for left in await leftovers.sweep(self.state_dir):
            self._tell(f"its agent is gone, so it was killed: {left}")
