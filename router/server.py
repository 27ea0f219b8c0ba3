"""The router's parent process: it owns the sockets, the table, the counters and the workers; it takes no invocation."""

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator

from aiohttp import web

from hotswap import etcd
from hotswap.errors import Unavailable
from hotswap.model import Router
from hotswap.settings import RouterSettings, host_and_port
from hotswap.store import Store
from router.admin import Admin
from router.announce import announced
from router.channel import Begin
from router.exposition import RouterCollector
from router.keeper import Keeper
from router.revisions import RevisionCollector
from router.rows import Rows
from router.workers import START_LIMIT, Workers

log = logging.getLogger(__name__)

GRACE_SECONDS = 0.5
"""From when readiness fails until the workers take no more connections: time for a balancer before us to see it."""
CHECK_EVERY = 1.0
"""Seconds between two looks for workers that are stuck and endpoints whose time is over."""
COLLECT_AFTER = 50_000
"""New objects before garbage is looked for: a list of 100,000 endpoints is read without hundreds of looks."""
FOLD_EVERY = 1.0
"""Seconds between two looks for rows that nobody uses."""


async def run(settings: RouterSettings) -> None:
    """Until SIGTERM or SIGINT, and all is drained. SIGHUP replaces the workers. Raises `Unavailable` for an address."""
    gc.set_threshold(COLLECT_AFTER)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    listeners = _listen(settings.bind, settings.workers)
    try:
        store = Store(etcd.connect(settings.etcd))
        try:
            await Parent(settings, listeners, store).run()
        finally:
            await store.kv.close()
    finally:
        for listener in listeners:
            listener.close()


class Parent:
    def __init__(self, settings: RouterSettings, listeners: list[socket.socket], store: Store) -> None:
        self._settings = settings
        self._store = store
        self._address = _announced_address(*listeners[0].getsockname()[:2])
        self._admin_address = ""
        self._boot = secrets.token_hex(8)
        self._rows = Rows(clock=time.monotonic)
        begin = Begin(
            settings.workers,
            settings.drain_seconds,
            express=settings.lane == "express",
            trusted=settings.trusted,
            limits=settings.limits,
        )
        self._workers = Workers(listeners=listeners, begin=begin, rows=self._rows)
        self._keeper = Keeper(folder=settings.state_dir, workers=self._workers)
        collector = RouterCollector(rows=self._rows, workers=self._workers, keeper=self._keeper)
        self._admin = Admin(
            router=self._router,
            rows=self._rows,
            workers=self._workers,
            collector=collector,
            revisions=RevisionCollector(rows=self._rows, router=self._router),
        )
        self._ending = asyncio.Event()

    async def run(self) -> None:
        async with self._serving_admin(), asyncio.TaskGroup() as tasks:
            with self._signals(tasks):
                background = [
                    tasks.create_task(self._follow(), name="follow"),
                    tasks.create_task(self._keeper.save(), name="save"),
                    tasks.create_task(self._check(), name="check"),
                    tasks.create_task(self._fold(), name="fold"),
                ]
                self._announcing = tasks.create_task(self._announce(), name="announce")
                serving = tasks.create_task(self._workers.run(), name="serve")
                await self._ending.wait()
                await self._end(serving)
                for task in background:
                    task.cancel()
        self._rows.close()

    async def _follow(self) -> None:
        """What is on the disk is served before the store is asked for news: its lists, too, need a processor."""
        if await self._keeper.load():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_LIMIT):
                    while not self._workers.ready:
                        await self._workers.news()
        await self._keeper.follow(self._store)

    async def _end(self, serving: asyncio.Task[None]) -> None:
        self._admin.ending = True
        self._announcing.cancel()
        if not self._workers.started:
            serving.cancel()
            return
        await asyncio.sleep(GRACE_SECONDS)
        self._workers.drain()
        await asyncio.wait([serving])

    async def _announce(self) -> None:
        while not self._workers.ready:
            await self._workers.news()
        await announced(self._store, self._router())

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY)
            self._workers.check_beats()
            self._keeper.let_go()

    async def _fold(self) -> None:
        """Only while no worker picks by an older table than ours: then nobody begins on a superseded row."""
        while True:
            await asyncio.sleep(FOLD_EVERY)
            if self._workers.up_to_date:
                self._rows.fold()

    @contextlib.contextmanager
    def _signals(self, tasks: asyncio.TaskGroup) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(self._workers.replace(), name="replace"))
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    @contextlib.asynccontextmanager
    async def _serving_admin(self) -> AsyncIterator[None]:
        host, port = host_and_port(self._settings.admin, option="--admin")
        runner = web.AppRunner(self._admin.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            try:
                await site.start()
            except OSError as error:
                raise _unavailable(self._settings.admin, error) from error
            self._admin_address = _announced_address(host, runner.addresses[0][1])
            yield
        finally:
            await runner.cleanup()

    def _router(self) -> Router:
        return Router(name=self._settings.name, address=self._address, admin=self._admin_address, boot=self._boot)


def _listen(bind: str, count: int) -> list[socket.socket]:
    """One socket for each worker, all on one address; they take connections once a worker listens."""
    host, port = host_and_port(bind, option="--bind")
    listeners: list[socket.socket] = []
    try:
        for _ in range(count):
            listeners.append(_bound(host, port))
            port = listeners[0].getsockname()[1]
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise _unavailable(bind, error) from error
    return listeners


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.settimeout(0)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _unavailable(address: str, error: OSError) -> Unavailable:
    return Unavailable(f"{address} cannot be bound: {error.strerror}", hint="is another process there?")


def _announced_address(host: str, port: int) -> str:
    """Where others reach it: a listener on every address is announced by the name of the machine."""
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - it is recognised, not bound
        host = socket.gethostname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
