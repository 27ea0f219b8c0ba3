"""A real worker of the router, told its table by a test instead of by a parent: no etcd, no supervision, one process.

async with worker("general", upstream.port) as router:
    await router.ask(case, "whole")
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hotswap.processes import ended
from hotswap.settings import RouterLimits
from router.channel import Apply, Begin, Channel, Drain, Granted, Ready, ToParent, Want, parent_end
from router.counters import CounterFile, Own
from router.rows import Owner, Rows
from router.table import AliasEntry, EndpointEntry, Revisions, Table, Update, VersionEntry
from router.worker import run
from tests.polling import polling

LANES = {"general": False, "express": True}
"""By the name of a lane: whether a worker that takes requests by it begins with the express lane."""
FUNCTION = "f"
MAX_BODY = 1_000
"""Bytes that the function takes."""
LIMIT = 30.0
"""Seconds for it to begin, and to end."""


@dataclass
class Worker:
    lane: str
    port: int
    counters: CounterFile
    log: Path

    def own(self, count: Own) -> int:
        return self.counters.own(count)


@asynccontextmanager
async def worker(lane: str, upstream_port: int, folder: Path) -> AsyncIterator[Worker]:
    """It takes requests; its log is in the folder."""
    rows, file = _counted()
    ours, theirs = socket.socketpair()
    log = folder / f"{lane}.log"
    with _listener() as listener, theirs, log.open("wb") as out:
        port = listener.getsockname()[1]
        process = _spawn((listener.fileno(), theirs.fileno(), file.fd), out)
    try:
        async with _parent(ours, rows, lane, upstream_port, RouterLimits()):
            yield Worker(lane, port, file, log)
        async with asyncio.timeout(LIMIT):
            assert await ended(process) == 0
    finally:
        if process.poll() is None:
            process.kill()
            await ended(process)
        rows.close()


@asynccontextmanager
async def worker_within(lane: str, upstream_port: int, limits: RouterLimits) -> AsyncIterator[int]:
    """The same on this event loop; the port that it listens on."""
    rows, file = _counted()
    ours, theirs = socket.socketpair()
    listener = _listener()
    port = listener.getsockname()[1]
    with polling() as poll:
        running = asyncio.create_task(run(listener, theirs, file.fd, poll))
        try:
            async with _parent(ours, rows, lane, upstream_port, limits):
                yield port
            async with asyncio.timeout(LIMIT):
                await running
        finally:
            running.cancel()
            rows.close()


def _counted() -> tuple[Rows, CounterFile]:
    rows, file = Rows(clock=time.monotonic), CounterFile.create("conformance")
    rows.add(file)
    return rows, file


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


def _spawn(fds: tuple[int, ...], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "router.worker", *map(str, fds), "INFO"], pass_fds=fds, stderr=log)


@asynccontextmanager
async def _parent(
    sock: socket.socket, rows: Rows, lane: str, upstream_port: int, limits: RouterLimits
) -> AsyncIterator[None]:
    """What its parent is to a worker, from when that is ready until it is told to drain."""
    channel = await parent_end(sock)
    try:
        channel.send(Begin(workers=1, drain_seconds=0.0, express=LANES[lane], limits=limits))
        _apply(channel, rows, upstream_port)
        await _ready(channel)
        attending = asyncio.create_task(_attend(channel, rows))
        yield
        channel.send(Drain())
        async with asyncio.timeout(LIMIT):
            await attending
    finally:
        await channel.close()


def _apply(channel: Channel[ToParent], rows: Rows, upstream_port: int) -> None:
    update = Update(
        aliases=[AliasEntry(function=FUNCTION, name="production", revision=1, weights={1: 100})],
        versions=[VersionEntry(function=FUNCTION, number=1, revision=1, max_body=MAX_BODY)],
        endpoints=[
            EndpointEntry(
                function=FUNCTION,
                version=1,
                instance="i",
                revision=1,
                address=f"127.0.0.1:{upstream_port}",
                concurrency=16,
            )
        ],
        revisions=Revisions(aliases=1, versions=1, endpoints=1),
    )
    channel.send(Apply(update, rows.follow(Table().apply(update), update.functions)))


async def _ready(channel: Channel[ToParent]) -> None:
    async with asyncio.timeout(LIMIT):
        while not isinstance(message := await channel.receive(), Ready):
            assert message is not None, "the worker has ended; its log says why"


async def _attend(channel: Channel[ToParent], rows: Rows) -> None:
    """Grants what it asks for, until it is gone."""
    while (message := await channel.receive()) is not None:
        if isinstance(message, Want):
            channel.send(Granted([rows.grant(Owner(message.function, "", message.version, 0))]))
