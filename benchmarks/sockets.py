"""What the express lane costs over sockets: its code and the system calls that it makes, and nothing else.

32 clients and as many kept connections to two endpoints, all of them socket pairs in one process. What is sent to the
worker's side is sent first; then the time of the loop's turns is taken in which the worker answers all of it. The
fastest of many batches is told, since what others on the machine take only makes a batch slower. The kernel's part is
that of socket pairs, which is about half of what TCP takes: the figures are for comparing two states of the code.
"""

import argparse
import asyncio
import json
import math
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks import stage
from benchmarks.lane import ANSWER, STREAM, changing, head
from benchmarks.router.case import FIELDS
from benchmarks.router.streams import event
from router import relay
from router.loop import Loop
from router.upstream import Connection
from router.wire import End, Poll, Wire

CLIENTS = 32
BATCHES, QUICK = 2_000, 300
TURNS = 4
"""Of the loop, in which all is read and answered."""
MOST = 1 << 20


class Stage(stage.Stage):
    """Its clients and its functions are the other sides of socket pairs."""

    def __init__(self, poll: Poll) -> None:
        self._poll = poll
        super().__init__(poll, concurrency=CLIENTS * 2)
        self.clients = [self._wired(self.express()) for _ in range(CLIENTS)]
        self.functions: list[socket.socket] = []
        for pool in self.pools:
            for _ in range(CLIENTS):
                connection = Connection(pool)
                self.functions.append(self._wired(connection))
                stage.keep(pool, connection)

    async def answered(self, requests: Sequence[bytes]) -> float:
        """Seconds of the worker for a request of each client, and its answer."""
        for client, request in zip(self.clients, requests, strict=True):
            client.send(request)
        spent = await turns()
        asked = [function for function in self.functions if taken(function)]
        assert len(asked) == CLIENTS
        for function in asked:
            function.send(ANSWER)
        spent += await turns()
        assert all(taken(client) for client in self.clients)
        return spent

    async def begin_streams(self) -> None:
        for client in self.clients:
            client.send(head(FIELDS))
        await turns()
        self.functions = [function for function in self.functions if taken(function)]
        await self.streamed(STREAM)

    async def streamed(self, piece: bytes) -> float:
        """Seconds of the worker for a piece of each stream."""
        for function in self.functions:
            function.send(piece)
        spent = await turns()
        for client in self.clients:
            got = taken(client)
            assert got
            while 0 < got < len(piece) - len(STREAM):
                got += taken(client)
        return spent

    def _wired(self, end: End) -> socket.socket:
        """The other side."""
        ours, theirs = socket.socketpair()
        for side in (ours, theirs):
            side.settimeout(0)
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
        Wire(self._poll, ours, end)
        return theirs


async def turns() -> float:
    began = time.perf_counter()
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return time.perf_counter() - began


def taken(side: socket.socket) -> int:
    """Bytes that have come."""
    try:
        return len(side.recv(MOST))
    except BlockingIOError:
        return 0


def chunk(size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size)


async def measured(batches: int, poll: Poll) -> dict[str, float]:
    """Microseconds each."""
    on, found = Stage(poll), {}
    idle = min([await turns() for _ in range(batches)])

    async def fastest(name: str, calls: int, once: Callable[[], Awaitable[float]]) -> None:
        best = math.inf
        for _ in range(batches):
            best = min(best, await once())
        found[name] = (best - calls * idle) / CLIENTS * 1e6

    same, new = [head(FIELDS)] * CLIENTS, changing()
    await fastest("a known head", 2, lambda: on.answered(same))
    await fastest("a head that is always new", 2, lambda: on.answered(list(islice(new, CLIENTS))))
    await on.begin_streams()
    await fastest("an event of a stream", 1, lambda: on.streamed(event()))
    for size in (16_384, 65_536):
        piece = chunk(size)
        await fastest(f"a chunk of {size >> 10} KiB", 1, partial(on.streamed, piece))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench sockets", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} batches instead of {BATCHES}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    told = parser.parse_args()
    print("compiled" if relay.__file__.endswith(".so") else "plain Python")
    poll = Poll()
    with asyncio.Runner(loop_factory=lambda: Loop(poll)) as runner:
        figures = runner.run(measured(QUICK if told.quick else BATCHES, poll))
    for name, took in figures.items():
        print(f"  {name:28}{took:8.2f} µs")
    if told.json:
        told.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
