"""A real router process on a real etcd, and upstream servers that do exactly what a test wants of them.

async with routing(etcd, tmp_path) as router, upstream(answering(b"hello")) as server:
    await router.publish("fn", {1: [server.address]}, weights={1: 100})
    assert (await router.get("/fn/fn")).body == b"hello"
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import msgspec
import psutil

from hotswap import etcd
from hotswap.kv import MAX_OPERATIONS
from hotswap.metrics import CounterRow, Counters, Failing, Lacking, Named, Tally
from hotswap.model import Alias, Endpoint, Kind, Manifest, Router, Version
from hotswap.settings import EtcdSettings, Lane
from hotswap.store import Store

START_LIMIT = 30.0
ANSWER_LIMIT = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def version(self) -> int:
        return int(self.headers["Hotswap-Version"])

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class RouterUnderTest:
    process: asyncio.subprocess.Process
    store: Store
    known: Router
    session: aiohttp.ClientSession

    @property
    def host_port(self) -> tuple[str, int]:
        host, _, port = self.known.address.rpartition(":")
        return host, int(port)

    def url(self, path: str) -> str:
        return f"http://{self.known.address}{path}"

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        async with self.session.request(method, self.url(path), **options) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.call("GET", path, **options)

    async def ask(self, path: str) -> Answer:
        async with self.session.get(f"http://{self.known.admin}{path}") as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def metric(self, name: str) -> float:
        """The sum of all that has this name, with labels or without."""
        text = (await self.ask("/metrics")).body.decode()
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.partition("{")[0] == name or line.partition(" ")[0] == name
        )

    async def in_flight(self, function: str) -> float:
        text = (await self.ask("/metrics")).body.decode()
        lines = (line for line in text.splitlines() if line.startswith("hotswap_in_flight{"))
        return sum(float(line.rpartition(" ")[2]) for line in lines if f'function="{function}"' in line)

    async def nothing_in_flight(self, function: str) -> None:
        """Returns when that is so."""
        async with asyncio.timeout(START_LIMIT):
            while await self.in_flight(function):  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.05)

    async def counters(self, function: str = "fn") -> Counters:
        told = await self.ask(f"/counters?function={function}")
        return msgspec.json.decode(told.body, type=Counters)

    async def rows(self, function: str = "fn") -> list[CounterRow]:
        return (await self.counters(function)).rows

    async def failing(self, *, since: int = 0, wait: float = 0) -> Failing:
        told = await self.ask(f"/failing?since={since}&wait={wait:g}")
        return msgspec.json.decode(told.body, type=Failing)

    async def lacking(self, *, wait: float = 0) -> list[Named]:
        told = await self.ask(f"/lacking?wait={wait:g}")
        return msgspec.json.decode(told.body, type=Lacking).versions

    async def tally(self, function: str = "fn") -> Tally:
        return Tally.total(row.tally.counts for row in await self.rows(function))

    async def applied(self, subject: str, revision: int) -> None:
        told = await self.ask(f"/applied?subject={subject}&revision={revision}&wait=20")
        assert told.status == 200, told

    async def publish(
        self,
        function: str,
        endpoints: Mapping[int, Sequence[str]],
        *,
        weights: Mapping[int, int],
        concurrency: int = 16,
        **manifest: Any,
    ) -> None:
        """Versions with their endpoints, and the alias that goes to them; returns when the router has it all."""
        for number, addresses in endpoints.items():
            await self.add_version(function, number, **manifest)
            for index, address in enumerate(addresses):
                await self.add_endpoint(function, number, f"i{number}-{index}", address, concurrency=concurrency)
        await self.shift(function, weights)

    async def publish_many(self, functions: int) -> None:
        """So many functions of one version without an endpoint; returns when the router has them."""
        names = [f"one-of-many-{number}" for number in range(functions)]
        revision = 0
        for begin in range(0, functions, MAX_OPERATIONS):
            transaction = self.store.transaction()
            for name in names[begin : begin + MAX_OPERATIONS]:
                transaction.create(Alias(function=name, name="production", weights={1: 100}))
            revision = await transaction.commit()
        await self.applied("aliases", revision)

    async def add_version(self, function: str, number: int, *, kind: Kind = Kind.HTTP, **manifest: Any) -> None:
        made = Manifest(function=function, kind=kind, entrypoint=["./run"], **manifest)
        record = Version(
            function=function, number=number, artifact="0" * 64, size=1, manifest=made, published=datetime.now(UTC)
        )
        await self.store.transaction().create(record).commit()

    async def add_endpoint(
        self,
        function: str,
        number: int,
        instance: str,
        address: str,
        *,
        concurrency: int = 16,
        standby: bool = False,
    ) -> Endpoint:
        record = endpoint(function, number, instance, address, concurrency=concurrency)
        record = msgspec.structs.replace(record, standby=standby)
        await self.applied("endpoints", await self.store.transaction().create(record).commit())
        return record

    async def withdraw(self, endpoint: Endpoint) -> None:
        """As an agent does: told first, then deleted."""
        marked = msgspec.structs.replace(endpoint, withdrawn=True)
        await self.store.transaction().announce(marked, lease=0).commit()
        await self.applied("endpoints", await self.store.transaction().withdraw(endpoint).commit())

    async def shift(self, function: str, weights: Mapping[int, int], **alias: Any) -> int:
        """Gives the alias these weights; returns their revision when every worker has them."""
        record = Alias(function=function, name="production", weights=dict(weights), **alias)
        stored = await self.store.aliases.get(function, "production")
        revision = await self.store.transaction().put(record, over=stored).commit()
        await self.applied("aliases", revision)
        return revision

    async def spread(self, count: int, function: str = "fn") -> None:
        """So many invocations over connections of their own, so that they reach all workers."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            for _ in range(count):
                async with session.get(self.url(f"/fn/{function}")) as answer:
                    assert answer.status == 200

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def kill_worker(self) -> None:
        os.kill(self.workers()[0], signal.SIGKILL)

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_LIMIT):
            return await self.process.wait()


def endpoint(function: str, number: int, instance: str, address: str, *, concurrency: int = 16) -> Endpoint:
    return Endpoint(
        function=function, version=number, instance=instance, node="node", address=address, concurrency=concurrency
    )


@asynccontextmanager
async def routing(
    settings: EtcdSettings,
    folder: Path,
    *,
    workers: int = 1,
    drain: timedelta = timedelta(seconds=5),
    lane: Lane = "express",
    name: str = "router",
    more: Sequence[str] = (),
) -> AsyncIterator[RouterUnderTest]:
    """A router that is ready; it is ended with the context, and must end well if it still runs. `more`: options."""
    store = Store(etcd.connect(settings))
    process = await start_router(settings, folder, workers=workers, drain=drain, lane=lane, name=name, more=more)
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT)
        ) as session:
            router = RouterUnderTest(process, store, await announced(store, name), session)
            yield router
        if process.returncode is None:
            assert await router.end() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await store.kv.close()


async def start_router(
    settings: EtcdSettings,
    folder: Path,
    *,
    workers: int,
    drain: timedelta,
    lane: Lane = "express",
    name: str = "router",
    bind: str = "127.0.0.1:0",
    admin: str = "127.0.0.1:0",
    more: Sequence[str] = (),
) -> asyncio.subprocess.Process:
    options = {
        "--name": name,
        "--bind": bind,
        "--admin": admin,
        "--workers": str(workers),
        "--drain": f"{drain.total_seconds():g}s",
        "--lane": lane,
        "--state-dir": str(folder),
        "--etcd": ",".join(settings.endpoints),
    }
    words = [*(word for pair in options.items() for word in pair), *more]
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "hotswap", "router", *words)


async def announced(store: Store, name: str = "router") -> Router:
    async with asyncio.timeout(START_LIMIT), store.routers.watch() as batches:
        async for changes in batches:
            for stored in await store.routers.list() if changes.changes else []:
                if stored.value.name == name:
                    return stored.value
    raise AssertionError("a watch does not end")


@dataclass
class Request:
    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def fields(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    address: str
    connections: int = 0
    open: int = 0
    requests: list[Request] = field(default_factory=list)


SEEN_BY: WeakKeyDictionary[asyncio.StreamReader, Upstream] = WeakKeyDictionary()


@asynccontextmanager
async def upstream(*conversations: Conversation) -> AsyncIterator[Upstream]:
    """A server that has the first conversation on its first connection, and so on; the last one again and again."""
    seen = Upstream("")
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = conversations[min(seen.connections, len(conversations) - 1)]
        seen.connections += 1
        seen.open += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            SEEN_BY[reader] = seen
            await conversation(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            seen.open -= 1
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    seen.address = "{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield seen
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await server.wait_closed()


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Raises `IncompleteReadError` when the connection ends."""
    head = await reader.readuntil(b"\r\n\r\n")
    request = Request(head, b"")
    told = request.fields
    if "content-length" in told:
        request.body = await reader.readexactly(int(told["content-length"]))
    elif "transfer-encoding" in told:
        pieces = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        request.body = b"".join(pieces)
    SEEN_BY[reader].requests.append(request)
    return request


def response(body: bytes = b"", *, status: str = "200 OK", fields: Sequence[str] = ()) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answering(body: bytes = b"ok", *, status: str = "200 OK", fields: Sequence[str] = ()) -> Conversation:
    """Answers every request alike."""
    return saying(response(body, status=status, fields=fields))


def saying(data: bytes, *, then_close: bool = False) -> Conversation:
    """Sends these bytes for every request."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(data)
            await writer.drain()
            if then_close:
                return

    return talk


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads all and says nothing, until the connection ends."""
    while await reader.read(65_536):
        pass


async def refusing_address() -> str:
    """Where nobody listens."""
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()
    return f"{host}:{port}"
