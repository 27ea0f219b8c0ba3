"""A worker: takes requests on a listening socket that its parent owns, and routes them by the table that it is told.

    python -m router.worker LISTENER CHANNEL COUNTERS       (numbers of open files)

It is done when its parent tells it to drain, or is gone.
"""

import asyncio
import contextlib
import random
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from hotswap.logs import configure
from router.balance import RetryBudget
from router.channel import (
    Applied,
    Apply,
    Beat,
    Begin,
    Channel,
    Drain,
    Granted,
    Nodes,
    Ready,
    ToWorker,
    Want,
    worker_end,
)
from router.counters import CounterFile, Counting
from router.door import Door
from router.endpoints import Endpoints
from router.express import Express
from router.forwarding import Trust
from router.lane import Lane
from router.loop import Loop
from router.routes import Routes
from router.rows import Row
from router.supply import Supply
from router.wheel import TICK, Wheel
from router.wire import Poll

if TYPE_CHECKING:
    from router.clients import Clients

BACKLOG = 4_096
SWEEP_SECONDS = 1.0
"""Between two looks for what has been idle; also how often the parent hears that the worker is not stuck."""
TELL_AFTER = 0.02
"""Seconds from an error until the parent is told on which node that was, with others that come meanwhile."""
DRAIN_STEP = 0.05
"""Seconds between two looks whether all is done."""


class Worker:
    def __init__(
        self, channel: Channel[ToWorker], begin: Begin, file: CounterFile, listener: socket.socket, poll: Poll
    ) -> None:
        rng = random.Random()  # noqa: S311 - it spreads load and keeps no secret
        counting = Counting(file)
        self._channel = channel
        self._drain_seconds = begin.drain_seconds
        self._listener = listener
        self._poll = poll
        self._door: Door | asyncio.Server | None = None
        self._draining = asyncio.Event()
        self._asked: dict[tuple[str, int], asyncio.Future[int]] = {}
        limits = begin.limits
        self._routes = Routes(
            self._poll,
            workers=begin.workers,
            rng=rng,
            clock=time.monotonic,
            limits=limits,
            on_error=self._tell_nodes_soon,
        )
        supply = Supply(counting, self._ask_row, clock=time.monotonic)
        budget = RetryBudget()
        wheel = Wheel(time.monotonic())
        trust = Trust(begin.trusted)
        self._lane = Lane(self._routes, counting, supply, budget, wheel, time.monotonic, rng, trust, limits)
        self._express = Express(self._lane)
        self._clients = None if begin.express else _clients(self._lane)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(self._follow(), name="follow")
            sweeper = tasks.create_task(self._sweep(), name="sweep")
            timer = tasks.create_task(self._turn(), name="turn")
            await self._draining.wait()
            await self._drain()
            follower.cancel()
            sweeper.cancel()
            timer.cancel()

    async def _follow(self) -> None:
        """Does what the parent says, also while draining: what runs on is routed by the latest table too."""
        while (message := await self._channel.receive()) is not None:
            match message:
                case Apply(update=update, rows=rows):
                    self._routes.apply(update, rows)
                    self._channel.send(Applied(self._routes.table.revisions))
                    await self._listen()
                case Granted(rows=rows):
                    self._grant(rows)
                case Drain():
                    self._draining.set()
                case Begin():
                    raise AssertionError("a worker begins once")
        self._draining.set()

    async def _listen(self) -> None:
        if self._door is None and not self._draining.is_set():
            if self._clients is None:
                self._door = Door(self._poll, self._listener, self._express, backlog=BACKLOG)
            else:
                loop = asyncio.get_running_loop()
                self._door = await loop.create_server(self._clients.accept, sock=self._listener, backlog=BACKLOG)
            self._channel.send(Ready())

    async def _drain(self) -> None:
        self._lane.draining = True
        if self._door is not None:
            self._door.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_seconds):
                while self._express.connections or not (self._clients is None or self._clients.gone):
                    self._express.close_idle()
                    if self._clients is not None:
                        self._clients.close_idle()
                    await asyncio.sleep(DRAIN_STEP)
        self._express.cut()
        if self._clients is not None:
            await self._clients.shutdown(0)
        self._routes.close()

    async def _sweep(self) -> None:
        while True:
            if self._clients is not None:
                self._clients.sweep()
            self._routes.sweep()
            self._tell_nodes_of(self._routes.errant())
            self._channel.send(Beat())
            await asyncio.sleep(SWEEP_SECONDS)

    async def _turn(self) -> None:
        while True:
            self._lane.wheel.turn(time.monotonic())
            await asyncio.sleep(TICK)

    def _tell_nodes_soon(self) -> None:
        asyncio.get_running_loop().call_later(TELL_AFTER, self._tell_nodes)

    def _tell_nodes(self) -> None:
        """Of versions that have errors: where all is well nobody asks."""
        self._tell_nodes_of(self._routes.erring())

    def _tell_nodes_of(self, versions: dict[tuple[str, int], Endpoints]) -> None:
        for (function, version), endpoints in versions.items():
            self._channel.send(Nodes(function, version, endpoints.by_node()))

    async def _ask_row(self, function: str, version: int) -> int:
        """Asked once, whoever waits for it."""
        key = (function, version)
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_future()
            self._channel.send(Want(function, version))
        return await asyncio.shield(self._asked[key])

    def _grant(self, rows: list[Row]) -> None:
        self._routes.grant(rows)
        for row in rows:
            asked = self._asked.pop((row.owner.function, row.owner.version), None)
            if asked is not None:
                asked.set_result(row.index)


def _clients(lane: Lane) -> "Clients":
    """Of the general lane. It needs aiohttp: 14 MiB and a third of a second that most workers do without."""
    from router import clients

    return clients.Clients(lane)


async def run(listener: socket.socket, channel: socket.socket, counters: int, poll: Poll) -> None:
    parent = await worker_end(channel)
    begin = await parent.receive()
    if begin is None:
        return
    assert isinstance(begin, Begin)
    file = CounterFile(counters)
    try:
        await Worker(parent, begin, file, listener, poll).run()
    finally:
        await parent.close()


def main(arguments: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the parent, which tells us
    *descriptors, level = arguments
    listener, channel, counters = map(int, descriptors)
    configure("router-worker", level=level)
    poll = Poll()
    with asyncio.Runner(loop_factory=lambda: Loop(poll)) as runner:
        runner.run(run(socket.socket(fileno=listener), socket.socket(fileno=channel), counters, poll))


if __name__ == "__main__":
    main(sys.argv[1:])
