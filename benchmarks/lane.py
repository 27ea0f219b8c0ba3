"""What the express lane costs by itself: its code over wires that do nothing, without the kernel.

Each case is run in many short batches, and the fastest one is told: what others on the machine take only makes a batch
slower. The figures are for finding out what a change of the code does; what a request costs in all is shown by
`scripts/bench router`.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice, repeat
from pathlib import Path

from benchmarks.router.case import FIELDS, NEW_EACH_TIME
from benchmarks.router.streams import HEAD, event
from hotswap.settings import RouterLimits
from router import relay
from router.balance import RetryBudget
from router.codec.body import LAST_CHUNK
from router.counters import CounterFile, Counting
from router.express import Express
from router.forwarding import Trust
from router.lane import Lane
from router.routes import Routes
from router.rows import Owner, Row
from router.supply import Supply
from router.upstream import Connection, Pool, State
from router.wheel import Wheel
from router.wire import Poll, Wire
from tests.router_entries import alias, endpoint, update, version

BATCH = 400
"""Requests."""
BATCHES = 400
QUICK = 60
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 01 Jul 2025 10:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\nBackend: 1\r\nCache-Control: private, max-age=60\r\n\r\nok"
)
STREAM = HEAD % 1


class Nowhere(Wire):
    """Takes what is written, and tells nothing."""

    def __init__(self) -> None:  # there is no socket
        self.peer = "127.0.0.1"

    def write(self, data: bytes) -> None:
        pass

    def write_parts(self, parts: tuple[bytes, bytes, bytes]) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass

    def space(self) -> int:
        return 0


class Stage:
    """A client and a function of one version with two endpoints, over wires that do nothing."""

    def __init__(self) -> None:
        counting, rng = Counting(CounterFile.create("lane", capacity=4)), random.Random(1)
        routes = Routes(Poll(), workers=1, rng=rng, clock=time.monotonic, limits=RouterLimits(), on_error=lambda: None)
        entries = (alias({1: 100}), version(1), endpoint("a", port=9001), endpoint("b", port=9002))
        routes.apply(update(*entries), [Row(Owner("fn", "production", 1, 1), 1)])
        supply = Supply(counting, self._no_row, clock=time.monotonic)
        budget, wheel = RetryBudget(), Wheel(time.monotonic())
        lane = Lane(routes, counting, supply, budget, wheel, time.monotonic, rng, Trust(), RouterLimits())
        express = Express(lane, None)  # type: ignore[arg-type] # nothing is handed over
        self.client = express()
        self.client.connection_made(Nowhere())
        self._pools = list(routes.endpoints("fn", 1)._pools.values())
        self._kept = [self._keep(pool) for pool in self._pools]

    def ask(self, request: bytes) -> Connection:
        """Where the request has gone out to."""
        self.client.data_received(request)
        one, other = self._kept
        return one if one.state is State.ACTIVE else other

    def _keep(self, pool: Pool) -> Connection:
        connection = Connection(pool)
        connection.connection_made(Nowhere())
        connection.state = State.IDLE
        pool.put_back(connection)
        return connection

    async def _no_row(self, function: str, version: int) -> int:
        raise AssertionError("every version here has a row")


def head(fields: dict[str, str], *, method: str = "GET", body: int = 0) -> bytes:
    lines = [
        f"{method} /fn/fn/tiny HTTP/1.1",
        "Host: bench.test",
        *(f"{name}: {told}" for name, told in fields.items()),
    ]
    if body:
        lines.append(f"Content-Length: {body}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def same() -> Iterator[bytes]:
    return repeat(head(FIELDS))


def changing() -> Iterator[bytes]:
    template = head(FIELDS | NEW_EACH_TIME)
    return (template % (number, number) for number in count(1 << 40))


def posted() -> Iterator[bytes]:
    return repeat(head(FIELDS, method="POST", body=1024) + b"x" * 1024)


def answered(stage: Stage, requests: Sequence[bytes]) -> None:
    for request in requests:
        stage.ask(request).data_received(ANSWER)


def streamed(stage: Stage, pieces: Sequence[bytes]) -> None:
    """The events of one stream; the last of them ends it."""
    connection = stage.ask(head(FIELDS))
    connection.data_received(STREAM)
    for piece in pieces:
        connection.data_received(piece)
    connection.data_received(LAST_CHUNK)


def events() -> Iterator[bytes]:
    return (event() for _ in repeat(None))


CASES: dict[str, tuple[Callable[[], Iterator[bytes]], Callable[[Stage, Sequence[bytes]], None]]] = {
    "a known head": (same, answered),
    "a head that is always new": (changing, answered),
    "a body of 1 KiB": (posted, answered),
    "an event of a stream": (events, streamed),
}


async def fastest(name: str, batches: int) -> float:
    """Microseconds for one."""
    source, do = CASES[name]
    sent, stage = source(), Stage()
    best = math.inf
    for _ in range(batches):
        batch = list(islice(sent, BATCH))
        began = time.perf_counter()
        do(stage, batch)
        best = min(best, time.perf_counter() - began)
        await asyncio.sleep(0)
    return best / BATCH * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description="What the express lane costs without the kernel.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    told = parser.parse_args()
    print("compiled" if relay.__file__.endswith(".so") else "plain Python")
    figures = {}
    for name in CASES:
        figures[name] = asyncio.run(fastest(name, QUICK if told.quick else BATCHES))
        print(f"  {name:28}{figures[name]:8.2f} µs", flush=True)
    if told.json:
        told.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
