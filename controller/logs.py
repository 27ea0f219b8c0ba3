"""What the instances of a function printed, on every node that runs or ran it: what is kept first, in the order of
time, then, for who follows, what comes.

Every agent is asked at once. One that does not answer holds up nobody: it is named, and asked again for as long as
somebody follows. Times are the nodes' own, so lines of nodes whose clocks differ stand by these.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from controller.agents import RemoteAgents
from hotswap.errors import HotswapError, Invalid, NotFound
from hotswap.model import Node
from hotswap.rpc import agent_pb2
from hotswap.store import Store

T = TypeVar("T")

LIMIT = 5.0
"""Seconds for an agent to tell what it keeps."""
ASK_AGAIN = 2.0
"""Seconds after which a follower looks for nodes that are new, or back."""
MOST = 10_000
"""Lines of what is kept."""
AHEAD = 1_000
"""Lines that may wait for a follower who reads slowly; then the agents wait."""
A_MOMENT = 0.001
"""Seconds: nodes tell times to that."""
PLATFORM = "!"
"""In the place of a request, for what the platform tells of an instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsWanted:
    function: str
    qualifier: str = ""
    tail: int
    """The last so many lines of what is kept."""
    since: float = 0.0
    """Unix time."""
    request: str = ""
    follow: bool = False


@dataclass(frozen=True, slots=True)
class LogEntry:
    at: float
    """Unix time."""
    node: str
    version: int
    instance: str
    request: str
    text: str
    platform: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """A node whose lines are not told, and why."""

    text: str


Told = LogEntry | Missing


class LogBook:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._agents = RemoteAgents()

    async def read(self, wanted: LogsWanted, versions: set[int] | None) -> AsyncGenerator[Told, None]:
        """`versions` is `None` for all."""
        if not 0 <= wanted.tail <= MOST:
            raise Invalid(f"the last {wanted.tail} lines are asked for; it may be 0 to {MOST}")
        kept: asyncio.Future[list[Told]] = asyncio.get_running_loop().create_future()
        coming: asyncio.Queue[Told] = asyncio.Queue(AHEAD)
        collecting = asyncio.create_task(self._collect(wanted, versions, kept, coming), name=f"logs {wanted.function}")
        try:
            for told in await _unless_failed(collecting, kept):
                yield told
            while wanted.follow:
                yield await _unless_failed(collecting, asyncio.ensure_future(coming.get()))
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)

    async def _collect(
        self,
        wanted: LogsWanted,
        versions: set[int] | None,
        kept: asyncio.Future[list[Told]],
        coming: asyncio.Queue[Told],
    ) -> None:
        """Has a reader for each node, also for those that come to be."""
        readers: dict[str, _Reader] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for stored in await self._store.nodes.list():
                    if reader := readers.get(stored.value.name):
                        reader.node = stored.value
                        continue
                    reader = _Reader(stored.value, self._agents, wanted, versions, coming)
                    readers[stored.value.name] = reader
                    group.create_task(reader.run(), name=repr(reader))
                if not kept.done():
                    told = await asyncio.gather(*(reader.first() for reader in readers.values()))
                    kept.set_result(_merged(told, wanted.tail))
                if not wanted.follow:
                    return
                await asyncio.sleep(ASK_AGAIN)


class _Reader:
    """What one node tells."""

    def __init__(
        self,
        node: Node,
        agents: RemoteAgents,
        wanted: LogsWanted,
        versions: set[int] | None,
        coming: asyncio.Queue[Told],
    ) -> None:
        self.node = node
        self._agents = agents
        self._wanted = wanted
        self._versions = versions
        self._coming = coming
        self._kept: list[LogEntry] = []
        self._missing = ""
        self._caught_up = asyncio.Event()
        """What the node keeps is read."""
        self._last = wanted.since

    def __repr__(self) -> str:
        return f"<logs of {self._wanted.function} on {self.node.name}>"

    async def first(self) -> list[Told]:
        """What the node keeps; it has a limit for that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LIMIT):
                await self._caught_up.wait()
        if not self._caught_up.is_set():
            self._missing = f'the agent of node "{self.node.name}" does not answer within {LIMIT:g} s'
            self._caught_up.set()
        missing: list[Told] = [Missing(self._missing)] if self._missing else []
        return [*missing, *self._kept]

    async def run(self) -> None:
        """Until it is cancelled, where it follows; else until the node has told all."""
        while True:
            try:
                async with aclosing(self._agents.logs(self.node, self._request())) as lines:
                    async for line in lines:
                        await self._take(line)
                self._missing = ""
            except NotFound:
                self._missing = ""
            except HotswapError as error:
                if self._caught_up.is_set() and not self._missing:
                    await self._coming.put(Missing(error.message))
                self._missing = error.message
            self._caught_up.set()
            if not self._wanted.follow:
                return
            await asyncio.sleep(ASK_AGAIN)

    def _request(self) -> agent_pb2.LogsRequest:
        return agent_pb2.LogsRequest(
            function=self._wanted.function,
            version=min(self._versions) if self._versions and len(self._versions) == 1 else 0,
            lines=self._wanted.tail or 1,
            follow=self._wanted.follow,
            since_unix_seconds=self._last,
            request=self._wanted.request,
        )

    async def _take(self, line: agent_pb2.LogLine) -> None:
        if not line.instance:
            self._caught_up.set()
            self._missing = ""
            return
        if self._versions is not None and line.version not in self._versions:
            return
        entry = _entry(self.node.name, line)
        if self._caught_up.is_set():
            self._last = max(self._last, entry.at + A_MOMENT)
            await self._coming.put(entry)
            return
        self._last = max(self._last, entry.at + A_MOMENT)
        self._kept.append(entry)
        if len(self._kept) > 2 * MOST:
            self._kept = sorted(self._kept, key=_at)[-MOST:]


async def _unless_failed(collecting: asyncio.Task[None], awaited: asyncio.Future[T]) -> T:
    """What is waited for; raises what the collecting has raised."""
    try:
        either: list[asyncio.Future[Any]] = [collecting, awaited]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            collecting.result()
        return await awaited
    finally:
        awaited.cancel()


def _merged(told: list[list[Told]], tail: int) -> list[Told]:
    """The last lines of all, and before them what is missing."""
    every = [one for some in told for one in some]
    entries = sorted((one for one in every if isinstance(one, LogEntry)), key=_at)
    missing: list[Told] = [one for one in every if isinstance(one, Missing)]
    return [*missing, *(entries[-tail:] if tail else [])]


def _at(entry: LogEntry) -> float:
    return entry.at


def _entry(node: str, line: agent_pb2.LogLine) -> LogEntry:
    platform = line.request == PLATFORM
    request = "" if platform else line.request
    return LogEntry(line.unix_seconds, node, line.version, line.instance, request, line.text, platform)
