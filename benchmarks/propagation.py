"""How long old weights live: from a weight change in etcd to the last invocation that was picked by the ones before.

All weight goes from version 1 to version 2 and back, several hundred times, while clients invoke over connections that
reach every worker. An answer tells by `Hotswap-Version` which weights picked it.

What is measured, for each change: the time until the *last answer* with the old version *has arrived*. That is later
than its pick by the way through the function and back, so it errs against us. It is told from two beginnings:

- *answer*: when etcd's answer to the transaction reached the writer, that is when anybody could first know of the
  change. Workers that have it before that count as 0.
- *start*: when the writer sent the transaction; this holds etcd's own time to make it durable.

A worker that is asked rarely would look better than it is, so the rate per worker is told too: a pick that nobody asked
for is not seen. A change is over when every connection has had two answers by the new weights.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import uvloop

from hotswap.etcd.local import running
from hotswap.model import Alias
from hotswap.settings import EtcdSettings
from tests.router_harness import RouterUnderTest, routing

WORKERS = 4
CONNECTIONS = 48
"""The kernel spreads them by chance: with so many no worker is left out."""
INTERVAL = 0.04
"""Seconds between two invocations on a connection."""
BETWEEN = (0.02, 0.08)
"""Seconds from the end of one change to the next, at random, so that nothing keeps step with it."""
SETTLE_LIMIT = 10.0
VERSION = b"Hotswap-Version: "
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Function(asyncio.Protocol):
    """The fastest function there is: its answer is the same for every request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(ANSWER)


@dataclass
class Seen:
    """By version: when its last answer came. By connection: answers in a row by the version that is new."""

    last: dict[int, float] = field(default_factory=dict)
    new: int = 1
    streaks: dict[int, int] = field(default_factory=dict)
    answers: int = 0

    def answered(self, connection: int, version: int) -> None:
        self.last[version] = time.perf_counter()
        self.streaks[connection] = self.streaks.get(connection, 0) + 1 if version == self.new else 0
        self.answers += 1

    def settled(self) -> bool:
        return len(self.streaks) == CONNECTIONS and min(self.streaks.values()) >= 2

    def expect(self, version: int) -> None:
        self.new = version
        self.streaks = dict.fromkeys(self.streaks, 0)


class Client(asyncio.Protocol):
    def __init__(self, number: int, seen: Seen) -> None:
        self._number = number
        self._seen = seen
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        asyncio.get_running_loop().call_later(INTERVAL * random.random(), self._ask)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._held.endswith(b"\r\n\r\nok"):
            return
        at = self._held.index(VERSION) + len(VERSION)
        self._seen.answered(self._number, int(self._held[at : at + 1]))
        self._held = b""
        asyncio.get_running_loop().call_later(INTERVAL, self._ask)

    def _ask(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"GET /fn/fn HTTP/1.1\r\nHost: bench\r\n\r\n")


@dataclass(frozen=True)
class Change:
    from_answer: float
    from_start: float
    """Seconds."""


async def change(router: RouterUnderTest, seen: Seen, *, old: int, new: int) -> Change:
    stored = await router.store.aliases.get("fn", "production")
    assert stored
    record = Alias(function="fn", name="production", weights={new: 100})
    seen.expect(new)
    start = time.perf_counter()
    await router.store.transaction().replace(stored, record).commit()
    answer = time.perf_counter()
    async with asyncio.timeout(SETTLE_LIMIT):
        while not seen.settled():  # noqa: ASYNC110 - to wait costs nothing that is measured
            await asyncio.sleep(INTERVAL)
    return Change(max(0.0, seen.last[old] - answer), max(0.0, seen.last[old] - start))


async def measure(router: RouterUnderTest, seen: Seen, changes: int) -> list[Change]:
    measured = []
    for number in range(changes):
        old, new = (1, 2) if number % 2 == 0 else (2, 1)
        measured.append(await change(router, seen, old=old, new=new))
        await asyncio.sleep(random.uniform(*BETWEEN))
    return measured


async def run(changes: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    function = await loop.create_server(Function, "127.0.0.1", 0)
    address = "{}:{}".format(*function.sockets[0].getsockname())
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder) / "etcd") as server:
            settings = EtcdSettings(endpoints=(server.endpoint,))
            async with routing(settings, Path(folder) / "router", workers=WORKERS) as router:
                await router.publish("fn", {1: [address], 2: [address]}, weights={1: 100}, concurrency=1_000)
                seen = Seen()
                clients = [
                    (await loop.create_connection(lambda n=n: Client(n, seen), *router.host_port))[0]  # type: ignore[misc]
                    for n in range(CONNECTIONS)
                ]
                begun, before = time.perf_counter(), seen.answers
                measured = await measure(router, seen, changes)
                rate = (seen.answers - before) / (time.perf_counter() - begun)
                for client in clients:
                    client.close()
    function.close()
    return report(measured, rate)


def report(measured: list[Change], rate: float) -> dict[str, Any]:
    return {
        "workers": WORKERS,
        "changes": len(measured),
        "invocationsPerSecond": round(rate),
        "perWorker": round(rate / WORKERS),
        "fromAnswerMs": quantiles([it.from_answer for it in measured]),
        "fromStartMs": quantiles([it.from_start for it in measured]),
    }


def quantiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {
        "p50": round(cuts[49] * 1000, 2),
        "p90": round(cuts[89] * 1000, 2),
        "p99": round(cuts[98] * 1000, 2),
        "max": round(max(seconds) * 1000, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="How long old weights live after a change.")
    parser.add_argument("--quick", action="store_true", help="40 changes instead of 400")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    result = uvloop.run(run(40 if options.quick else 400))
    print(
        f"{result['changes']} changes, {result['workers']} workers, {result['invocationsPerSecond']} invocations/s"
        f" ({result['perWorker']} a worker); until the last answer by old weights, in ms:"
    )
    for name, title in (("fromAnswerMs", "from etcd's answer"), ("fromStartMs", "from the start of the write")):
        told = "  ".join(f"{key} {value:g}" for key, value in result[name].items())
        print(f"  {title:<28} {told}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
