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
from router.channel import Apply, Begin, Channel, Drain, Granted, Ready, ToParent, Want, parent_end
from router.counters import CounterFile, Own
from router.rows import Owner, Rows
from router.table import AliasEntry, EndpointEntry, Revisions, Table, Update, VersionEntry

LANES: dict[str, dict[str, bool]] = {"general": {}}
"""By the name of a lane: with what a worker begins that takes requests by it."""
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
    rows, file = Rows(clock=time.monotonic), CounterFile.create(f"conformance-{lane}")
    rows.add(file)
    ours, theirs = socket.socketpair()
    log = folder / f"{lane}.log"
    with socket.socket() as listener, theirs, log.open("wb") as out:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        fds = (listener.fileno(), theirs.fileno(), file.fd)
        process = _spawn(fds, out)
    channel = await parent_end(ours)
    try:
        channel.send(Begin(workers=1, drain_seconds=0.0, **LANES[lane]))
        _apply(channel, rows, upstream_port)
        await _ready(channel)
        attending = asyncio.create_task(_attend(channel, rows))
        yield Worker(lane, port, file, log)
        channel.send(Drain())
        async with asyncio.timeout(LIMIT):
            assert await ended(process) == 0
            await attending
    finally:
        if process.poll() is None:
            process.kill()
            await ended(process)
        await channel.close()
        rows.close()


def _spawn(fds: tuple[int, ...], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "router.worker", *map(str, fds)], pass_fds=fds, stderr=log)


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
    """What its parent does for a worker, until it is gone."""
    while (message := await channel.receive()) is not None:
        if isinstance(message, Want):
            channel.send(Granted([rows.grant(Owner(message.function, "", message.version, 0))]))
