"""What a router worker holds in memory: for 2 GiB in each direction, and for 10,000 connections that are idle.

A client sends a body of 2 GiB in pieces of 64 KiB, without a length, and then takes an answer as large; the function on
the other side takes and sends it the same way. Memory is the worker's unique set size, looked at twenty times a second;
what a stream takes is the most that was seen less what was there before it.

Then so many connections are opened, and each has had one answer before it falls silent, or none at all. What one takes
is the growth of the memory divided by their number; the buffers of the kernel are not in it.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import uvloop

from hotswap.etcd.local import running
from hotswap.settings import EtcdSettings
from tests.router_harness import RouterUnderTest, routing

FUNCTION = "streams"
PIECE = bytes(65_536)
MIB = 1_048_576
LOOK_EVERY = 0.05
"""Seconds."""
WARM = 8
"""MiB of a first stream, by which is allocated what is allocated once."""
LIMIT = 300.0
"""Seconds for any one part."""
AT_ONCE = 100
"""Connections that are being opened at a time."""
SPARE_FILES = 400
"""Beside the connections."""


@dataclass
class Memory:
    """Of the router's only worker, in MiB."""

    process: psutil.Process
    most: float = 0.0

    @classmethod
    def of(cls, router: RouterUnderTest) -> "Memory":
        return cls(psutil.Process(router.workers()[0]))

    def now(self) -> float:
        held = float(self.process.memory_full_info().uss) / MIB
        self.most = max(self.most, held)
        return held

    async def looked_at(self) -> None:
        while True:
            self.now()
            await asyncio.sleep(LOOK_EVERY)


async def instance(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes whatever comes as the body; answers with as many MiB as the last part of the path says."""
    try:
        while head := await _head(reader):
            wanted = int(head.split(b" ")[1].rpartition(b"/")[2] or 0)
            taken = await _take(reader) if b"Transfer-Encoding: chunked" in head else 0
            writer.write(b"HTTP/1.1 200 OK\r\nX-Taken: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % taken)
            await _give(writer, wanted)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def _take(reader: asyncio.StreamReader) -> int:
    """A chunked body; how many bytes it had."""
    taken = 0
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
        taken += size
    await reader.readline()
    return taken


async def _give(writer: asyncio.StreamWriter, mebibytes: int) -> None:
    piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    for _ in range(mebibytes * MIB // len(PIECE)):
        writer.write(piece)
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    server = await asyncio.start_server(instance, "127.0.0.1", 0, limit=4 * len(PIECE))
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def upload(router: RouterUnderTest, function: str, mebibytes: int) -> None:
    reader, writer = await asyncio.open_connection(*router.host_port)
    writer.write(b"POST /fn/%b/0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % function.encode())
    await _give(writer, mebibytes)
    head = await reader.readuntil(b"\r\n\r\n")
    if b"X-Taken: %d\r\n" % (mebibytes * MIB) not in head:
        raise RuntimeError(f"the function did not get all of the body: {head.decode('ascii', 'replace')}")
    await _take(reader)
    writer.close()


async def download(router: RouterUnderTest, function: str, mebibytes: int) -> None:
    reader, writer = await asyncio.open_connection(*router.host_port, limit=4 * len(PIECE))
    writer.write(b"GET /fn/%b/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (function.encode(), mebibytes))
    await reader.readuntil(b"\r\n\r\n")
    taken = await _take(reader)
    if taken != mebibytes * MIB:
        raise RuntimeError(f"the client got {taken} bytes of {mebibytes} MiB")
    writer.close()


async def idle(router: RouterUnderTest, count: int, *, invoked: bool) -> list[asyncio.StreamWriter]:
    """So many open connections, each after one answer, or as they were made."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> asyncio.StreamWriter:
        async with gate:
            reader, writer = await asyncio.open_connection(*router.host_port)
            if invoked:
                writer.write(b"GET /fn/%b/0 HTTP/1.1\r\nHost: a\r\n\r\n" % FUNCTION.encode())
                await reader.readuntil(b"\r\n0\r\n\r\n")
            return writer

    return await asyncio.gather(*(one() for _ in range(count)))


async def measure(*, mebibytes: int, connections: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder) / "etcd") as server, serving() as address:
            settings = EtcdSettings(endpoints=(server.endpoint,))
            async with routing(settings, Path(folder) / "streams") as router:
                limit, size = timedelta(seconds=LIMIT), 2 * mebibytes * MIB
                await router.publish(FUNCTION, {1: [address]}, weights={1: 100}, timeout=limit, max_body=size)
                figures |= await held(router, FUNCTION, mebibytes)
            for name, invoked in (("silent", False), ("invoked", True)):
                async with routing(settings, Path(folder) / name) as router:
                    figures[f"{name}_kib"] = await _idle(router, connections, invoked=invoked)
    return figures


async def held(router: RouterUnderTest, function: str, mebibytes: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    loop, memory = asyncio.get_running_loop(), Memory.of(router)
    for name, stream in (("upload", upload), ("download", download)):
        await stream(router, function, WARM)
        before = memory.most = memory.now()
        looking = asyncio.create_task(memory.looked_at())
        began = loop.time()
        async with asyncio.timeout(LIMIT):
            await stream(router, function, mebibytes)
        figures[f"{name}_seconds"] = loop.time() - began
        looking.cancel()
        figures[f"{name}_mib"] = memory.most - before
    figures["resting_mib"] = memory.now()
    return figures


async def _idle(router: RouterUnderTest, connections: int, *, invoked: bool) -> float:
    """In a router of its own: what others have left free would be used again."""
    memory = Memory.of(router)
    opened = await idle(router, AT_ONCE, invoked=invoked)
    before = memory.now()
    async with asyncio.timeout(LIMIT):
        opened += await idle(router, connections, invoked=invoked)
    each = (memory.now() - before) * 1024 / connections
    for writer in opened:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in opened), return_exceptions=True)
    return each


def tell(figures: dict[str, float], *, mebibytes: int, connections: int) -> None:
    print(f"a worker at rest: {figures['resting_mib']:.1f} MiB")
    for name in ("upload", "download"):
        rate = mebibytes / figures[f"{name}_seconds"]
        print(f"{name} of {mebibytes} MiB: {figures[f'{name}_mib']:.2f} MiB more at most, {rate:.0f} MiB/s")
    print(f"{connections} idle connections, KiB of the worker's for each:")
    print(f"  after an answer {figures['invoked_kib']:.1f}, never used {figures['silent_kib']:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench streams", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="256 MiB and 1,000 connections")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    size: dict[str, Any] = {
        "mebibytes": 256 if options.quick else 2048,
        "connections": 1_000 if options.quick else 10_000,
    }
    wanted = size["connections"] + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))
    figures = uvloop.run(measure(**size))
    tell(figures, **size)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
