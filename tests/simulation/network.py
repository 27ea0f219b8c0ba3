"""What is between the processes of a world and its store: delays, losses, partitions, leases, and death at any moment.

A process is one life of a controller, an agent or a router. Each of its writes is a point at which it may die, before
it is sent, and another after it took effect and before its answer came; so is each call of an agent. What a dead
process sent may still arrive; what it does while its tasks end reaches nobody.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from hotswap import kv
from hotswap.memory import MemoryLease
from tests.simulation.cluster import Author, Cluster
from tests.simulation.history import History, actor

CALL_LIMIT = 3.0
"""Seconds after which a call that has no answer is given up."""
LATEST = 25.0
"""Seconds that a message may be on its way: longer than it takes another controller to lead."""
MARGIN = 0.1
"""Part of a lease's time to live by which its holder lets go before the store does."""
KEEP_ALIVE_EVERY = 0.25
"""Part of the time to live between two keep-alives."""


@dataclass
class Weather:
    """Shares of calls to which something happens."""

    slow: float = 0.0
    """They take up to a second or two."""
    lost: float = 0.0
    """They never arrive."""
    late: float = 0.0
    """The caller has given up when they arrive."""
    unanswered: float = 0.0
    """They take effect, but the caller is not told."""
    repeated: float = 0.0
    """They arrive twice."""

    def clear(self) -> None:
        self.slow = self.lost = self.late = self.unanswered = self.repeated = 0.0


class Network:
    def __init__(self, *, cluster: Cluster, random: Random, history: History, weather: Weather) -> None:
        self.cluster = cluster
        self.history = history
        self.random = random
        self.weather = weather
        self._on_their_way: set[asyncio.Task[None]] = set()

    def chance(self, share: float) -> bool:
        return share > 0 and self.random.random() < share

    async def travel(self) -> None:
        slowest = 2.0 if self.chance(self.weather.slow) else 0.01
        await asyncio.sleep(self.random.uniform(0.0005, slowest))

    def deliver_later(self, author: Author, require: Sequence[kv.Requirement], write: Sequence[kv.Write]) -> None:
        """What was sent arrives some time, whatever became of its sender."""
        task = asyncio.create_task(self._delivered(author, require, write, self.random.uniform(0, LATEST)))
        self._on_their_way.add(task)
        task.add_done_callback(self._on_their_way.discard)

    async def _delivered(
        self, author: Author, require: Sequence[kv.Requirement], write: Sequence[kv.Write], delay: float
    ) -> None:
        await asyncio.sleep(delay)
        try:
            await self.cluster.commit(author, require, write)
        except kv.KVError as error:
            self.history.tell(author.name, f"  a late write is refused: {error}")


class Process:
    """One life of a service."""

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self.network = network
        self.alive = True
        self.dies_in: int | None = None
        """Points at which it may die that are left until it does."""
        self.leases: list[KeptLease] = []
        self._connected = asyncio.Event()
        self._connected.set()
        self.dead = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        context = copy_context()
        context.run(actor.set, self.name)
        self._task = asyncio.get_running_loop().create_task(main(), name=self.name, context=context)

    @property
    def failure(self) -> BaseException | None:
        """What has ended it, if it ended by itself."""
        ended = self._task is not None and self._task.done() and not self._task.cancelled()
        return self._task.exception() if self._task and ended else None

    def die(self, why: str) -> None:
        if not self.alive:
            return
        self.alive = False
        self.dead.set()
        self.network.history.tell(self.name, f"dies: {why}")
        for lease in self.leases:
            lease.neglect()
        if self._task:
            self._task.cancel()

    def cut_off(self) -> None:
        self.network.history.tell(self.name, "is cut off")
        self._connected.clear()
        for lease in self.leases:
            lease.neglect()

    def reconnect(self) -> None:
        if self.alive and not self.connected:
            self.network.history.tell(self.name, "is connected again")
            self._connected.set()
            for lease in self.leases:
                lease.resume()

    def lose_lease_unnoticed(self, *, blind: float) -> None:
        """Its keep-alives are lost, and it stands still while its own deadline passes: it goes on for a while."""
        self.network.history.tell(self.name, f"loses its lease, and notices {blind:.1f} s late")
        for lease in self.leases:
            lease.neglect(blind=blind)

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    def point(self, where: str) -> None:
        """A point at which it may die."""
        if self.dies_in is not None and self.alive:
            self.dies_in -= 1
            if self.dies_in <= 0:
                self.die(where)
        if not self.alive:
            raise asyncio.CancelledError

    async def reach(self) -> None:
        """On the way to somebody else; raises `Unreachable` when it is cut off."""
        if not self.connected:
            await self._until_connected_soon()
        await self.network.travel()

    async def _until_connected_soon(self) -> None:
        try:
            async with asyncio.timeout(CALL_LIMIT):
                await self._connected.wait()
        except TimeoutError:
            raise kv.Unreachable(f"{self.name} is cut off") from None

    async def until_connected(self) -> None:
        await self._connected.wait()


class Connection:
    """The store as one process sees it: keeps the contract of `hotswap.kv`."""

    def __init__(self, process: Process, author: Author) -> None:
        self._process = process
        self._network = process.network
        self._cluster = process.network.cluster
        self._author = author

    async def get(self, key: str) -> kv.Item | None:
        await self._process.reach()
        item = await self._cluster.kv.get(key)
        await self._network.travel()
        return item

    async def range(self, prefix: str) -> kv.Listing:
        await self._process.reach()
        listing = await self._cluster.kv.range(prefix)
        await self._network.travel()
        return listing

    async def commit(self, *, require: Sequence[kv.Requirement], write: Sequence[kv.Write]) -> int:
        kv.check_transaction(require, write)
        self._process.point(f"before {_keys(write)}")
        weather = self._network.weather
        lost, late = self._network.chance(weather.lost), self._network.chance(weather.late)
        if lost or late:
            if late:
                self._network.deliver_later(self._author, require, write)
            await asyncio.sleep(CALL_LIMIT)
            raise kv.Unreachable("the store does not answer; whether the write was made is not known")
        return await self._made(require, write)

    async def _made(self, require: Sequence[kv.Requirement], write: Sequence[kv.Write]) -> int:
        weather = self._network.weather
        try:
            await self._process.reach()
        except asyncio.CancelledError:  # it was sent
            if self._network.chance(0.5):
                self._network.deliver_later(self._author, require, write)
            raise
        if require and self._network.chance(weather.repeated):  # what compares nothing is not sent again
            self._network.deliver_later(self._author, require, write)
        revision = await self._cluster.commit(self._author, require, write)
        self._process.point(f"after {_keys(write)}")
        await self._network.travel()
        if self._network.chance(weather.unanswered):
            await asyncio.sleep(CALL_LIMIT)
            raise kv.Unreachable("the store does not answer; whether the write was made is not known")
        return revision

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[kv.Batch]]:
        await self._process.until_connected()
        await self._network.travel()
        async with self._cluster.kv.watch(prefix) as batches, aclosing(self._arriving(batches)) as arriving:
            yield arriving

    async def _arriving(self, batches: AsyncIterator[kv.Batch]) -> AsyncGenerator[kv.Batch, None]:
        async for batch in batches:
            await self._network.travel()
            await self._process.until_connected()
            yield batch

    async def grant(self, ttl: timedelta) -> "KeptLease":
        await self._process.reach()
        self._process.point("before a lease")
        return KeptLease(self._process, await self._cluster.grant(ttl), ttl)

    async def close(self) -> None:
        """Its watches end with their contexts."""


class KeptLease:
    """A lease that its process keeps alive for as long as it lives and is connected. No time is spent on keep-alives:
    the times at which it ends are reckoned when they stop."""

    def __init__(self, process: Process, lease: MemoryLease, ttl: timedelta) -> None:
        self._process = process
        self._lease = lease
        self._ttl = ttl.total_seconds()
        self._gone = asyncio.Event()
        self._given_up = False
        self._timers: list[asyncio.TimerHandle] = []
        process.leases = [one for one in process.leases if not one._given_up] + [self]

    @property
    def id(self) -> int:
        return self._lease.id

    @property
    def deadline(self) -> float:
        return 0.0 if self._gone.is_set() else asyncio.get_running_loop().time() + self._ttl * (1 - MARGIN)

    async def lost(self) -> None:
        await self._gone.wait()

    async def abandon(self) -> None:
        self._given_up = True
        self._timers.append(asyncio.get_running_loop().call_later(self._ttl, self._lease.expire))

    async def revoke(self) -> None:
        if self._given_up or not self._process.alive:
            return
        self._gone.set()
        if self._process.connected:
            await self._process.network.travel()
            self._cancel_timers()
            self._expire()
        else:
            self.neglect()

    def neglect(self, *, blind: float = 0.0) -> None:
        """No keep-alive arrives any more. The holder lets go in time, unless it is blind for a while."""
        if self._given_up or self._timers:
            return
        loop, age = asyncio.get_running_loop(), self._process.network.random.uniform(0, self._ttl * KEEP_ALIVE_EVERY)
        holder = loop.call_later(self._ttl * (1 - MARGIN) - age + blind, self._gone.set)
        self._timers = [holder, loop.call_later(self._ttl - age, self._expire)]

    def resume(self) -> None:
        """Keep-alives arrive again, if it is not too late."""
        if not self._gone.is_set() and not self._given_up:
            self._cancel_timers()

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def _expire(self) -> None:
        self._given_up = True
        self._process.network.cluster.expire(self._lease, self._process.name)


def _keys(write: Sequence[kv.Write]) -> str:
    return ", ".join(one.key.removeprefix("/hotswap/") for one in write)
