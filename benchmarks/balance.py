"""How evenly the kernel spreads connections over a router's four workers.

So many connections are opened, one after the other; each invokes five times and stays open, so a worker has requests as
it has connections. Told are the requests of the busiest worker over the mean: the mean of some rounds, and the worst.
"""

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import psutil
import uvloop

from benchmarks.propagation import Function
from hotswap.etcd.local import running
from hotswap.settings import EtcdSettings
from tests.router_harness import routing

WORKERS = 4
CONNECTIONS = (16, 64, 256, 1_024)
REQUESTS = 5
"""On each connection."""


class Caller(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """With our port, when all is answered."""
        self._request = request
        self._left = REQUESTS
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._held.endswith(b"\r\n\r\nok"):
            return
        assert self._held.startswith(b"HTTP/1.1 200 "), self._held
        self._held = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._request)
        else:
            self.done.set_result(self._transport.get_extra_info("sockname")[1])

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the router closed the connection"))

    def close(self) -> None:
        self._transport.close()


async def balance(
    port: int, workers: Iterable[psutil.Process], function: str, *, connections: int, rounds: int
) -> dict[str, float]:
    """Of a router on this port that has the function."""
    ratios = []
    pids = list(workers)
    request = b"GET /fn/%b HTTP/1.1\r\nHost: bench\r\n\r\n" % function.encode()
    loop = asyncio.get_running_loop()
    for _ in range(rounds):
        callers = [
            (await loop.create_connection(lambda: Caller(request), "127.0.0.1", port))[1] for _ in range(connections)
        ]
        ours = set(await asyncio.gather(*(caller.done for caller in callers)))
        served = Counter(worker for client, worker in clients_of(pids, port) if client in ours)
        assert served.total() == connections, served
        ratios.append(max(served.values()) * WORKERS / connections)
        for caller in callers:
            caller.close()
    return {"mean": statistics.mean(ratios), "worst": max(ratios)}


def clients_of(workers: Iterable[psutil.Process], port: int) -> Iterator[tuple[int, int]]:
    """The port of each client, and the worker that it is connected to."""
    for worker in workers:
        for connection in worker.net_connections("tcp"):
            if connection.raddr and connection.laddr.port == port:
                yield connection.raddr.port, worker.pid


async def run(rounds: int) -> dict[int, dict[str, float]]:
    function = await asyncio.get_running_loop().create_server(Function, "127.0.0.1", 0)
    address = "{}:{}".format(*function.sockets[0].getsockname())
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder) / "etcd") as server:
            settings = EtcdSettings(endpoints=(server.endpoint,))
            async with routing(settings, Path(folder) / "router", workers=WORKERS) as router:
                await router.publish("fn", {1: [address]}, weights={1: 100}, concurrency=10_000)
                workers = list(map(psutil.Process, router.workers()))
                port = router.host_port[1]
                result = {
                    count: await balance(port, workers, "fn", connections=count, rounds=rounds) for count in CONNECTIONS
                }
    function.close()
    return result


def allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench balance", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 20")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    allow_files(4 * max(CONNECTIONS))
    result = uvloop.run(run(3 if options.quick else 20))
    for count, told in result.items():
        print(
            f"{count} connections: the busiest worker has {told['mean']:.2f} times the mean,"
            f" {told['worst']:.2f} at worst"
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
