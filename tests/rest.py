"""REST as its users have it: requests over a real socket, and what comes back."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from controller.api.rest.route import PREFIX
from hotswap import etcd
from hotswap.deployment import Bake
from hotswap.kv import KV
from hotswap.settings import EtcdSettings
from tests.controller_platform import LIMIT, Platform, platform

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def tag(self) -> str:
        return self.headers["ETag"]

    def problem(self, status: int) -> Any:
        """The problem document, which must be one of that status."""
        assert (self.status, self.headers["Content-Type"]) == (status, PROBLEM), self
        document = self.json
        assert document["status"] == status
        assert document["type"].startswith("urn:hotswap:problem:")
        assert document["title"]
        assert document["detail"]
        assert document["instance"].startswith("/")
        assert "Traceback" not in self.body.decode()
        return document

    def made(self, status: int = 200) -> Any:
        """The document, of an answer that must have that status."""
        assert (self.status, self.headers["Content-Type"]) == (status, "application/json"), self
        return self.json


@dataclass
class Told:
    """A server-sent event."""

    data: Any
    kind: str = "message"
    id: str = ""


@dataclass
class Rest:
    address: str
    session: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, method: str, path: str, **options: Any) -> Reply:
        """`json`, `data` and `headers` as aiohttp has them; the path is below the prefix."""
        options["headers"] = {**self.headers, **options.get("headers", {})}
        async with self.session.request(method, f"http://{self.address}{PREFIX}{path}", **options) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.send("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Reply:
        return await self.send("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Reply:
        return await self.send("PUT", path, **options)

    @asynccontextmanager
    async def stream(self, deployment: str, *, after: str = "") -> AsyncIterator[AsyncIterator[Told | str]]:
        """Events, and comments as texts, as they come."""
        headers = {"Last-Event-ID": after} if after else {}
        async with self.stream_at(f"/deployments/{deployment}/events/stream", **headers) as told:
            yield told

    @asynccontextmanager
    async def stream_at(self, path: str, **headers: str) -> AsyncIterator[AsyncIterator[Told | str]]:
        headers = {**self.headers, "Accept": "text/event-stream", **headers}
        async with self.session.get(f"http://{self.address}{PREFIX}{path}", headers=headers) as answer:
            assert answer.status == 200, await answer.read()
            assert answer.content_type == "text/event-stream"
            yield _parsed(answer.content)

    async def told(self, deployment: str, *, after: str = "") -> list[Told]:
        """All events until the stream ends."""
        async with self.stream(deployment, after=after) as events:
            return [event async for event in events if isinstance(event, Told)]


async def _parsed(content: aiohttp.StreamReader) -> AsyncIterator[Told | str]:
    fields: dict[str, str] = {}
    async for raw in content:
        line = raw.decode().removesuffix("\n")
        if line.startswith(":"):
            yield line
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Told(json.loads(fields["data"]), fields.get("event", "message"), fields.get("id", ""))
            fields = {}
        else:
            fields = {}


@asynccontextmanager
async def rest_at(address: str, **headers: str) -> AsyncIterator[Rest]:
    """No request of these takes longer than `LIMIT`; connections are not kept, so that none outlives a test."""
    timeout = aiohttp.ClientTimeout(total=LIMIT)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Rest(address, session, headers)


@dataclass
class World:
    """A platform on a real etcd with a controller that leads, and its REST."""

    settings: EtcdSettings
    platform: Platform
    rest: Rest

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Rest]:
        """Of a second controller, which does not lead, on a connection of its own to etcd."""
        async with (
            connected(self.settings) as kv,
            self.platform.resting("c2", kv=kv) as address,
            rest_at(address) as rest,
        ):
            yield rest

    async def deployed(self, version: int) -> str:
        """The id of a deployment that gave all traffic to the version."""
        request = {"functionName": "image-processor", "version": version, "strategy": "AllAtOnce"}
        name = str((await self.rest.post("/deployments", json=request)).made(201)["id"])
        await self.platform.ended(name)
        return name

    async def running(self, version: int) -> str:
        """The id of a canary that holds its first phase for long."""
        config = {"canaryDuration": "PT10M", "canaryIncrements": [10, 100]}
        request = {"functionName": "image-processor", "version": version, "strategy": "Canary", "config": config}
        name = str((await self.rest.post("/deployments", json=request)).made(201)["id"])
        await self.platform.until(name, lambda it: isinstance(it.steps[it.progress.index], Bake))
        return name


@asynccontextmanager
async def connected(settings: EtcdSettings) -> AsyncIterator[KV]:
    store = etcd.connect(settings)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def world_on(settings: EtcdSettings, folder: Path) -> AsyncIterator[World]:
    async with connected(settings) as kv, platform(kv, folder) as made, made.running("c1"):
        await made.leader(by="c1")
        [leader] = await made.store.leader.list()
        async with rest_at(leader.value.rest) as rest:
            yield World(settings, made, rest)
