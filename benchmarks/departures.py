"""How soon a function's request ends when its client goes away: from the close to the function's end of the connection.

Each time a client asks a function that never answers, and closes its connection once the function has the request. The
clients, the function and the clock are in one process, so what is told has this process's own turns in it too.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from hotswap.etcd.local import running
from hotswap.settings import EtcdSettings, Lane
from tests.router_harness import RouterUnderTest, routing, upstream

FUNCTION = "departures"
LIMIT = 20.0
"""Seconds for any one step."""


async def measure(*, times: int, lane: Lane) -> list[float]:
    """Milliseconds."""
    begun, ended = asyncio.Queue[None](), asyncio.Queue[float]()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.put_nowait(None)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        ended.put_nowait(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder) / "etcd") as server, upstream(never_answer) as function:
            settings = EtcdSettings(endpoints=(server.endpoint,))
            async with routing(settings, Path(folder) / "router", lane=lane) as router:
                await router.publish(FUNCTION, {1: [function.address]}, weights={1: 100})
                return [await departure(router, begun, ended) for _ in range(times)]


async def departure(router: RouterUnderTest, begun: asyncio.Queue[None], ended: asyncio.Queue[float]) -> float:
    async with asyncio.timeout(LIMIT):
        _, writer = await asyncio.open_connection(*router.host_port)
        writer.write(b"GET /fn/%b HTTP/1.1\r\nHost: a\r\n\r\n" % FUNCTION.encode())
        await begun.get()
        closed = time.perf_counter()
        writer.transport.abort()
        return (await ended.get() - closed) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench departures", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="100 departures, not 1,000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    lanes: tuple[Lane, ...] = ("express", "general")
    for lane in lanes:
        told = uvloop.run(measure(times=100 if options.quick else 1_000, lane=lane))
        cuts = statistics.quantiles(told, n=100)
        figures[lane] = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(told)}
        print(f"{lane} lane: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms, at most {max(told):.2f} ms")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
