"""The endpoints of one version in one worker: which to use, the connections to each, and who waits for one.

An invocation that finds none ready is held until one is: a new one, or one that has room again. Who waits longest goes
first, and nobody who comes later goes before those who wait.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable
from typing import Final

from hotswap.settings import RouterLimits
from router.balance import Group, Load, share
from router.pool import Caller, ConnectFailed, Kept, Pool
from router.table import EndpointEntry
from router.upstream import Connection
from router.wire import Poll

MOST_HELD: Final = 1_024
"""Invocations of one version that a worker holds."""


class Full(Exception):
    """As many wait as may."""


class Place(Load):
    """An endpoint and the connections to it. There may be a hundred thousand, most of them never used."""

    __slots__ = ("pool", "withdrawn")

    def __init__(self, entry: EndpointEntry, *, limit: int) -> None:
        super().__init__(entry, limit=limit)
        self.pool: Pool | None = None
        self.withdrawn = False


class Shared:
    """What all endpoints of a worker have in common."""

    def __init__(
        self,
        poll: Poll,
        *,
        workers: int,
        rng: random.Random,
        clock: Callable[[], float],
        limits: RouterLimits,
        erred: Callable[["Endpoints"], None],
    ) -> None:
        """`erred` is called at each error, with the endpoints of its version."""
        self.poll = poll
        self.workers = workers
        self.rng = rng
        self.clock = clock
        self.erred = erred
        self.kept = Kept(clock=clock, limits=limits)
        self.held: set[Endpoints] = set()
        """Those that invocations wait for, or did when they were last looked at."""

    def sweep(self) -> list["Endpoints"]:
        """To be called about every second. Those that were waited for."""
        self.kept.sweep()
        held = list(self.held)
        self.held = {endpoints for endpoints in held if endpoints.retried()}
        return held


class Endpoints:
    __slots__ = ("_group", "_known", "_past", "_shared", "_waiting", "function", "version")

    def __init__(self, shared: Shared, function: str, version: int) -> None:
        self._shared = shared
        self.function = function
        self.version = version
        self._group = Group(shared.rng)
        self._known: dict[str, Place] = {}
        """By instance."""
        self._waiting: list[asyncio.Future[None]] = []
        self._past: dict[str, tuple[int, int]] = {}
        """By node, what endpoints that are gone answered, and how many errors that were."""

    @property
    def empty(self) -> bool:
        return not self._known

    @property
    def _room(self) -> int:
        return sum(place.limit - place.in_flight for place in self._known.values())

    @property
    def idle(self) -> bool:
        """Nothing is lost if this is forgotten."""
        return not (self._known or self._waiting)

    def replace(self, entries: Iterable[EndpointEntry]) -> None:
        """Those that are gone are used no more, and their idle connections are closed at once. An instance that comes
        back elsewhere is another endpoint."""
        before, self._known = self._known, {}
        for entry in entries:
            place = before.get(entry.instance)
            if place is not None and place.entry.address == entry.address:
                del before[entry.instance]
                place.entry, place.limit = entry, share(entry.concurrency, self._shared.workers)
                place.standby = place.standby and entry.standby  # it may have answered, and not be announced as awake
            else:
                place = Place(entry, limit=share(entry.concurrency, self._shared.workers))
            self._known[entry.instance] = place
        self._group.replace(self._known.values())
        for place in before.values():
            self._withdraw(place)
        self._wake(self._room)

    def reuse(self, load: Load) -> Connection | None:
        """A connection that was kept, if there is one."""
        assert isinstance(load, Place), "it was taken here"
        return load.pool.reuse() if load.pool is not None and not load.withdrawn else None

    def want(self, load: Load, caller: Caller) -> None:
        """The first connection that there is, where none is kept."""
        assert isinstance(load, Place), "it was taken here"
        if load.withdrawn:
            caller.denied(_withdrawn(load))
        else:
            self.pool(load).want(caller)

    def leave(self, load: Load, caller: Caller) -> None:
        """It wants none any more, if it did."""
        assert isinstance(load, Place), "it was taken here"
        if load.pool is not None:
            load.pool.leave(caller)

    async def connect(self, load: Load) -> Connection:
        """A connection: one that was kept, or else the first that there is. Raises `ConnectFailed`."""
        assert isinstance(load, Place), "it was taken here"
        if load.withdrawn:
            raise _withdrawn(load)
        return await self.pool(load).connect()

    def pool(self, place: Place) -> Pool:
        if place.pool is None:
            place.pool = Pool(place.entry.address, self._shared.poll, self._shared.kept)
        return place.pool

    def take(self, now: float, *, avoid: Collection[Load] = ()) -> Load | None:
        """An endpoint at once, to be handed back to `done`, `failed` or `release`; `None` when none has room for a
        newcomer."""
        return None if self._waiting else self._group.pick(now, avoid=avoid)

    async def hold(self, *, avoid: Collection[Load] = ()) -> Load:
        """An endpoint as soon as there is one; waits as long as the caller lets it. Raises `Full`."""
        if load := self.take(self._shared.clock(), avoid=avoid):
            return load
        if len(self._waiting) >= MOST_HELD:
            raise Full
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._shared.held.add(self)
        while True:
            try:
                await turn
            except asyncio.CancelledError:
                self._leave(turn)
                raise
            if load := self._group.pick(self._shared.clock(), avoid=() if self.exhausted(avoid) else avoid):
                return load
            turn = asyncio.get_running_loop().create_future()
            self._waiting.insert(0, turn)

    def exhausted(self, tried: Collection[Load]) -> bool:
        """All that there are were tried in vain. Not where one of them is a standby: its agent is away, and the next
        one announces others."""
        return bool(self._known) and all(load in tried and not load.standby for load in self._group.loads)

    def answered(self, load: Load, now: float, *, latency: float) -> None:
        """The first byte is there, after so long; the endpoint is busy until its answer has ended."""
        self._group.answered(load, now, latency=latency)

    def done(self, load: Load, now: float, *, latency: float) -> None:
        """Answered, and at an end with it."""
        self._group.done(load, now, latency=latency)
        if self._waiting:
            self._wake(1)

    def by_node(self) -> dict[str, tuple[int, int]]:
        """Invocations that were answered or failed, and the errors among them."""
        found = dict(self._past)
        for place in self._known.values():
            answers, errors = found.get(place.entry.node, (0, 0))
            found[place.entry.node] = answers + place.answers, errors + place.errors
        return found

    def erred(self, load: Load) -> None:
        """What it answered is an error."""
        load.errors += 1
        self._shared.erred(self)

    def failed(self, load: Load, now: float) -> bool:
        """Whether that ejected the endpoint."""
        ejected = self._group.failed(load, now)
        self._shared.erred(self)
        self._wake(1)
        return ejected

    def release(self, load: Load) -> None:
        """At an end that says nothing more about the endpoint."""
        self._group.release(load)
        self._wake(1)

    def retried(self) -> bool:
        """Whether anybody waits: a standby that was left alone may be tried again, and nobody else tells."""
        if self._waiting:
            self._wake(self._room)
        return bool(self._waiting)

    def close(self) -> None:
        for place in self._known.values():
            if place.pool is not None:
                place.pool.close()

    def _withdraw(self, place: Place) -> None:
        place.withdrawn = True
        if place.pool is not None:
            place.pool.close()
        answers, errors = self._past.get(place.entry.node, (0, 0))
        self._past[place.entry.node] = answers + place.answers, errors + place.errors

    def _leave(self, turn: asyncio.Future[None]) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled():  # its turn had come: it goes to the next
            self._wake(1)

    def _wake(self, room: int) -> None:
        while room > 0 and self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                room -= 1


def _withdrawn(load: Load) -> ConnectFailed:
    return ConnectFailed(f"{load.entry.address} has just been withdrawn")
