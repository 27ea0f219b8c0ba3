"""What a message through a tunnel costs a worker: there and back, one at a time on each of 16 tunnels."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
import uvloop

from hotswap.etcd.local import running
from hotswap.settings import EtcdSettings
from tests.router_harness import RouterUnderTest, routing, upstream

FUNCTION = "tunnels"
TUNNELS = 16
MESSAGE = b"x" * 100
MESSAGES, QUICK = 3_000, 300
"""On each."""
LIMIT = 120.0
OFFER = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + OFFER)
    while data := await reader.read(65_536):
        writer.write(data)


async def talk(router: RouterUnderTest, messages: int) -> None:
    reader, writer = await asyncio.open_connection(*router.host_port)
    writer.write(b"GET /fn/%b HTTP/1.1\r\nHost: a\r\n%b" % (FUNCTION.encode(), OFFER))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    for _ in range(messages):
        writer.write(MESSAGE)
        assert await reader.readexactly(len(MESSAGE)) == MESSAGE
    writer.close()


async def measure(messages: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder) / "etcd") as server, upstream(echo) as function:
            settings = EtcdSettings(endpoints=(server.endpoint,))
            async with routing(settings, Path(folder) / "router") as router, asyncio.timeout(LIMIT):
                await router.publish(FUNCTION, {1: [function.address]}, weights={1: 100}, concurrency=2 * TUNNELS)
                await talk(router, 10)
                cpu, began = used(router), time.perf_counter()
                await asyncio.gather(*(talk(router, messages) for _ in range(TUNNELS)))
                count = TUNNELS * messages
                return {
                    "cpu_us": (used(router) - cpu) / count * 1e6,
                    "per_s": count / (time.perf_counter() - began),
                }


def used(router: RouterUnderTest) -> float:
    """Seconds of the processor, of its workers."""
    times = [process.cpu_times() for process in psutil.Process(router.process.pid).children()]
    return float(sum(it.user + it.system for it in times))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench tunnels", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} messages on each, not {MESSAGES}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    figures = uvloop.run(measure(QUICK if options.quick else MESSAGES))
    print(f"a message there and back: {figures['cpu_us']:.1f} µs of the worker, {figures['per_s']:,.0f} a second")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
