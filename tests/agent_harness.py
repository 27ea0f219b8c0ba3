"""A node for tests: a real agent process, a real etcd, and a small real controller that only hands out artifacts."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import aiohttp
import grpc
from multidict import CIMultiDict

from agent import cgroups, processes
from agent.cgroups import Groups
from agent.runtime.zygote import WAITING
from hotswap import archive, etcd, manifest
from hotswap.deployment import Leader
from hotswap.errors import NotFound, Unavailable
from hotswap.model import Assignment, Endpoint, Node, Version
from hotswap.rpc import agent_pb2, agent_pb2_grpc, controller_pb2, wire
from hotswap.settings import EtcdSettings
from hotswap.store import Store
from tests.conditions import PATIENCE

T = TypeVar("T")

NODE = "node-1"
AGENT = """
import asyncio, json, sys
from pathlib import Path
from agent.server import run
from hotswap import logs
from hotswap.settings import AgentSettings, EtcdSettings
told = json.loads(sys.argv[1])
logs.configure("agent")
etcd = EtcdSettings(endpoints=tuple(told.pop("etcd")))
asyncio.run(run(AgentSettings(etcd=etcd, state_dir=Path(told.pop("state_dir")), **told)))
"""


async def until(what: Callable[[], Awaitable[T | None]], *, limit: float = 60.0) -> T:
    """Asks again and again until the answer is true, and returns it; `TimeoutError` after `limit` seconds."""
    async with asyncio.timeout(limit * PATIENCE):
        while not (found := await what()):  # noqa: ASYNC110 - what is waited for is outside of this process
            await asyncio.sleep(0.02)
        return found


class ArtifactServer:
    """The part of a controller that agents call."""

    SERVICE = "hotswap.v1.Controller"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetches: list[str] = []
        self.offsets: list[int] = []
        self.cut_after = 0
        """Bytes of the first fetch after which it fails; 0 for none."""

    def register(self, server: grpc.aio.Server) -> None:
        fetch = grpc.unary_stream_rpc_method_handler(
            self.fetch,
            request_deserializer=controller_pb2.FetchArtifactRequest.FromString,
            response_serializer=controller_pb2.Chunk.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(self.SERVICE, {"FetchArtifact": fetch})
        server.add_generic_rpc_handlers((handler,))

    async def fetch(
        self, request: controller_pb2.FetchArtifactRequest, context: Any
    ) -> AsyncIterator[controller_pb2.Chunk]:
        self.fetches.append(request.sha256)
        path = self.folder / request.sha256
        if not path.exists():
            raise NotFound(f"artifact {request.sha256} does not exist")
        content = path.read_bytes()
        self.offsets.append(request.offset)
        for start in range(request.offset, len(content), 1000):
            if self.cut_after and len(self.offsets) == 1 and start >= self.cut_after:
                raise Unavailable("cut off")
            yield controller_pb2.Chunk(content=content[start : start + 1000])


@dataclass
class NodeUnderTest:
    """`start` the agent, `publish` versions, `assign` them, then look at `endpoints` and `get` from them."""

    folder: Path
    etcd: EtcdSettings
    store: Store
    session: aiohttp.ClientSession
    controller: ArtifactServer
    agent: "subprocess.Popen[bytes] | None" = None
    channel: grpc.aio.Channel | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    async def start(self, **settings: Any) -> Node:
        known = await self.store.nodes.get(NODE)
        told = {"name": NODE, "state_dir": str(self.state_dir), "etcd": list(self.etcd.endpoints)}
        with (self.folder / "agent.log").open("ab") as log:
            arguments = [sys.executable, "-c", AGENT, json.dumps(told | self.settings | settings)]
            self.agent = subprocess.Popen(arguments, stdout=log, stderr=log)  # noqa: ASYNC220 - quick enough

        async def announced() -> Node | None:
            assert self.agent is not None
            assert self.agent.poll() is None, self.log
            found = await self.store.nodes.get(NODE)
            return found.value if found and (not known or found.value.boot != known.value.boot) else None

        return await until(announced)

    async def kill(self, number: int = signal.SIGKILL) -> int:
        """Ends the agent; the exit code."""
        assert self.agent is not None
        self.agent.send_signal(number)
        return await self.gone()

    async def gone(self) -> int:
        assert self.agent is not None
        agent = self.agent

        async def ended() -> bool:
            return agent.poll() is not None

        await until(ended)
        assert agent.returncode is not None
        return agent.returncode

    async def publish(
        self,
        number: int,
        files: dict[str, str],
        settings: str,
        *,
        name: str = "echo",
        packages: dict[str, str] | None = None,
    ) -> Version:
        """A version with these files; `settings` is its hotswap.toml but for the name. `packages` are the files of what
        was vendored."""
        source, vendored = Path(tempfile.mkdtemp(dir=self.folder)), Path(tempfile.mkdtemp(dir=self.folder))
        for folder, wanted in ((source, files), (vendored, packages or {})):
            for path, text in wanted.items():
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_text(dedent(text))
        (source / manifest.FILE).write_text(f'function = "{name}"\n{dedent(settings)}')
        packed = self.folder / "packed"
        built = archive.build(source, packed, packages=vendored if packages else None)
        packed.rename(self.controller.folder / built.sha256)
        version = Version(
            function=name,
            number=number,
            artifact=built.sha256,
            size=built.size,
            manifest=manifest.read(source),
            published=datetime.now(UTC),
        )
        await self.store.transaction().create(version).commit()
        return version

    async def assign(self, versions: dict[int, int], *, name: str = "echo") -> int:
        """The revision of the assignment."""
        before = await self.store.assignments.get(NODE, name)
        value = Assignment(node=NODE, function=name, versions=versions)
        return await self.store.transaction().put(value, over=before).commit()

    async def endpoints(self, version: int, *, count: int = 1, name: str = "echo") -> list[Endpoint]:
        """Waits until there are so many."""

        async def there() -> tuple[list[Endpoint]] | None:
            found = await self.store.endpoints.list(name, version)
            return ([stored.value for stored in found],) if len(found) == count else None

        return (await until(there))[0]

    async def empty(self) -> None:
        """Waits until no instance is left."""

        async def none() -> bool:
            return not await self.status()

        await until(none)

    async def get(self, endpoint: Endpoint, path: str = "/") -> tuple[int, str]:
        async with self.session.get(f"http://{endpoint.address}{path}") as answer:
            return answer.status, await answer.text()

    async def invoke(self, endpoint: Endpoint, event: Any) -> tuple[int, Any, CIMultiDict[str]]:
        url = f"http://{endpoint.address}/2015-03-31/functions/function/invocations"
        async with self.session.post(url, json=event) as answer:
            return answer.status, await answer.json(), answer.headers.copy()

    async def stub(self) -> "agent_pb2_grpc.AgentAsyncStub":
        if self.channel:
            await self.channel.close(None)
        found = await self.store.nodes.get(NODE)
        assert found is not None
        self.channel = wire.channel(found.value.address)
        return agent_pb2_grpc.AgentStub(self.channel)

    async def waiting(self, *, but: int = 0) -> int:
        """The pid of the process that was forked ahead, once there is one."""

        async def found() -> int | None:
            assert self.agent is not None
            children = processes.children(self.agent.pid)
            return next((it for it in children if it != but and WAITING in shown(it, "cmdline")), None)

        return await until(found)

    async def status(self) -> list[agent_pb2.InstanceStatus]:
        return list((await (await self.stub()).Status(agent_pb2.StatusRequest())).instances)


@contextlib.asynccontextmanager
async def node(folder: Path, settings: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    """Everything around an agent; at the end nothing of it is left."""
    artifacts = folder / "published"
    artifacts.mkdir(parents=True)
    controller = ArtifactServer(artifacts)
    server, port = await wire.start("127.0.0.1:0", {ArtifactServer.SERVICE: controller.register})
    kv = etcd.connect(settings)
    store = Store(kv)
    leader = Leader(controller="test", address=f"127.0.0.1:{port}", since=datetime.now(UTC))
    await store.transaction().announce(leader, lease=0).commit()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        under_test = NodeUnderTest(folder, settings, store, session, controller)
        try:
            yield under_test
        finally:
            if under_test.channel:
                await under_test.channel.close(None)
            if under_test.agent and under_test.agent.poll() is None:
                under_test.agent.kill()
                under_test.agent.wait()
            for pid in processes_in(folder):
                with contextlib.suppress(ProcessLookupError):  # what is in a sandbox ends with its first process
                    os.kill(pid, signal.SIGKILL)
            await ungrouped(under_test.state_dir)
            await kv.close()
            await server.stop(None)


async def ungrouped(state_dir: Path) -> None:
    """Waits until no control group of the agent is left."""
    groups = Groups(cgroups.detect(), state_dir)

    async def gone() -> bool:
        for name in groups.names():
            groups.remove(name)
        return not groups.names()

    await until(gone)


def shown(pid: int, what: str) -> list[str]:
    """Of a process in /proc: its `cmdline` or `environ`; empty when there is none."""
    try:
        return (processes.PROC / str(pid) / what).read_bytes().decode().rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def processes_in(folder: Path) -> list[int]:
    """Pids of the processes that work somewhere in the folder."""
    return [pid for pid, cwd in _working_directories() if cwd.startswith(f"{folder}/")]


def _working_directories() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                yield int(name), os.readlink(f"/proc/{name}/cwd")
