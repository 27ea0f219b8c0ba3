"""What the express lane costs by itself: its code over wires that do nothing, without the kernel.

Each case is run in many short batches, and the fastest one is told: what others on the machine take only makes a batch
slower. The figures are for finding out what a change of the code does; what a request costs in all is shown by
`scripts/bench router`.
"""

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice, repeat
from pathlib import Path

from benchmarks import stage
from benchmarks.router.case import FIELDS, NEW_EACH_TIME
from benchmarks.router.streams import HEAD, event
from router import relay
from router.codec.body import LAST_CHUNK
from router.pool import Pool
from router.upstream import Connection, State
from router.wire import Poll, Wire

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


class Stage(stage.Stage):
    """Its client and its functions have wires that do nothing."""

    def __init__(self) -> None:
        super().__init__(Poll(), concurrency=4)
        self.client = self.express()
        self.client.connection_made(Nowhere())
        self._kept = [self._keep(pool) for pool in self.pools]

    def ask(self, request: bytes) -> Connection:
        """Where the request has gone out to."""
        self.client.data_received(request)
        one, other = self._kept
        return one if one.state is State.ACTIVE else other

    def _keep(self, pool: Pool) -> Connection:
        connection = Connection(pool)
        connection.connection_made(Nowhere())
        stage.keep(pool, connection)
        return connection


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


def answered(on: Stage, requests: Sequence[bytes]) -> None:
    for request in requests:
        on.ask(request).data_received(ANSWER)


def streamed(on: Stage, pieces: Sequence[bytes]) -> None:
    """The events of one stream; the last of them ends it."""
    connection = on.ask(head(FIELDS))
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
    sent, on = source(), Stage()
    best = math.inf
    for _ in range(batches):
        batch = list(islice(sent, BATCH))
        began = time.perf_counter()
        do(on, batch)
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
