"""Routers: they follow aliases and endpoints, and count what came of a steady stream of invocations.

No invocation is an event of its own. Between two moments at which anything is looked at, each alias has had its rate of
invocations, shared out by the weights that this router had, and as many errors as the nature of each version says.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

from hotswap.errors import Unavailable
from hotswap.metrics import Count, CounterRow, Counters, Failing, Failure, Lacking, Tally
from hotswap.model import FULL_WEIGHT, Alias, Router
from hotswap.store import Gone, Store, Stored
from router.announce import announced
from tests.simulation.cluster import Author
from tests.simulation.network import Connection, Network, Process
from tests.simulation.versions import Nature

LONG_POLL = 2.0
"""Seconds that a router keeps a question about a revision."""

Row = tuple[str, str, int, int]
"""Function, alias, version, revision of the alias."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What comes to a router, and what the router is like."""

    rates: dict[str, float]
    """Invocations a second of each function."""
    lag: float
    """Seconds that it may take to apply what it was told."""
    natures: dict[tuple[str, int], Nature]


class RouterHost:
    """The machine."""

    def __init__(self, name: str, *, network: Network, traffic: Traffic) -> None:
        self.name = name
        self.router: SimulatedRouter | None = None
        self.starts = 0
        self._network = network
        self._traffic = traffic

    @property
    def process(self) -> Process | None:
        return self.router.process if self.router and self.router.process.alive else None

    def start(self) -> None:
        if self.process is None:
            self.starts += 1
            self.router = SimulatedRouter(self, Process(self.name, self._network), self._traffic)
            self.router.process.run(self.router.run)

    def die(self) -> None:
        if self.process:
            self.process.die("the router is killed")


RouterHosts = dict[str, RouterHost]


@dataclass
class Counted:
    """Of one row; parts of invocations are carried over, so that no rounding adds up."""

    invocations: float = 0.0
    errors: float = 0.0

    @property
    def tally(self) -> Tally:
        counts = Tally.zero().counts
        counts[Count.STATUS] = int(self.errors)
        counts[Count.OK] = max(0, int(self.invocations) - int(self.errors))
        return Tally(counts=counts)


@dataclass
class Table:
    """What a router has applied."""

    aliases: dict[tuple[str, ...], Stored[Alias]] = field(default_factory=dict)
    endpoints: set[tuple[str, ...]] = field(default_factory=set)
    revisions: dict[str, int] = field(default_factory=lambda: {"aliases": 0, "endpoints": 0})


class SimulatedRouter:
    """One life of a router."""

    def __init__(self, host: RouterHost, process: Process, traffic: Traffic) -> None:
        self.process = process
        self.boot = str(host.starts)
        self.table = Table()
        self._name = host.name
        self._traffic = traffic
        self._store = Store(Connection(process, Author(host.name, "router")))
        self._rows: defaultdict[Row, Counted] = defaultdict(Counted)
        self._looks = 0
        self._failed: dict[Failure, int] = {}
        """In which look each was last seen."""
        self._counted_until = asyncio.get_running_loop().time()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """It is announced when it has a table."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_aliases(), name="aliases")
            tasks.create_task(self._follow_endpoints(), name="endpoints")
            while not all(self.table.revisions.values()):
                await self._changed.wait()
            me = Router(name=self._name, address=self._name, admin=self._name, boot=self.boot)
            tasks.create_task(announced(self._store, me), name="announced")

    async def applied(self, subject: Literal["aliases", "endpoints"], revision: int) -> bool:
        try:
            async with asyncio.timeout(LONG_POLL):
                while self.table.revisions[subject] < revision:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def counters(self, function: str) -> Counters:
        self._count()
        rows = [
            CounterRow(function=name, alias=alias, version=version, alias_revision=revision, tally=counted.tally)
            for (name, alias, version, revision), counted in self._rows.items()
            if name == function
        ]
        return Counters(router=self._name, boot=self.boot, rows=rows)

    async def failing(self, look: int) -> Failing:
        """After a while: to be told this late, and once, spares the loop a hundred events a second."""
        await asyncio.sleep(self.process.network.random.uniform(0, LONG_POLL))
        self._count()
        return Failing(look=self._looks, failures=[failure for failure, seen in self._failed.items() if seen > look])

    @property
    def aliases(self) -> list[Alias]:
        """By which it routes now."""
        return [stored.value for stored in self.table.aliases.values()]

    async def _follow_aliases(self) -> None:
        async with self._store.aliases.watch() as batches:
            async for batch in batches:
                await asyncio.sleep(self.process.network.random.uniform(0, self._traffic.lag))
                self._count()
                for change in batch.changes:
                    if isinstance(change, Stored):
                        self.table.aliases[change.value.function, change.value.name] = change
                    elif isinstance(change, Gone):
                        self.table.aliases.pop(change.parts, None)
                self._has("aliases", batch.revision)

    async def _follow_endpoints(self) -> None:
        async with self._store.endpoints.watch() as batches:
            async for batch in batches:
                await asyncio.sleep(self.process.network.random.uniform(0, self._traffic.lag))
                self._count()
                for change in batch.changes:
                    if isinstance(change, Stored):
                        endpoint = change.value
                        parts = (endpoint.function, str(endpoint.version), endpoint.instance)
                        (self.table.endpoints.discard if endpoint.withdrawn else self.table.endpoints.add)(parts)
                    elif isinstance(change, Gone):
                        self.table.endpoints.discard(change.parts)
                self._has("endpoints", batch.revision)

    def _has(self, subject: str, revision: int) -> None:
        self.table.revisions[subject] = max(revision, self.table.revisions[subject])
        self._changed.set()
        self._changed = asyncio.Event()

    def _count(self) -> None:
        """What came of the invocations since it was last looked at."""
        begin, end = self._counted_until, asyncio.get_running_loop().time()
        self._counted_until = end
        self._looks += 1
        served = {(function, int(version)) for function, version, _ in self.table.endpoints}
        for stored in self.table.aliases.values():
            alias = stored.value
            taken = self._traffic.rates[alias.function] * (end - begin) / FULL_WEIGHT
            for version, weight in alias.weights.items():
                if weight and (alias.function, version) in served:
                    row = self._rows[alias.function, alias.name, version, stored.mod_revision]
                    row.invocations += taken * weight
                    failing = self._traffic.natures[alias.function, version].failing(begin, end)
                    before, row.errors = int(row.errors), row.errors + taken * weight * failing
                    if int(row.errors) > before:
                        self._failed[Failure(function=alias.function, alias=alias.name, version=version)] = self._looks


class SimulatedAdmin:
    """The admin ports of the routers, as one process asks them (`hotswap.routers.Admin`)."""

    def __init__(self, caller: Process, hosts: RouterHosts) -> None:
        self._caller = caller
        self._hosts = hosts

    async def applied(self, router: Router, subject: Literal["aliases", "endpoints"], revision: int) -> bool:
        try:
            await self._caller.reach()
            found = self._router(router)
            answer = await found.applied(subject, revision)
            await self._caller.reach()
        except Unavailable:
            return False
        return answer and found.process.alive

    async def counters(self, router: Router, function: str) -> Counters:
        await self._caller.reach()
        answer = self._router(router).counters(function)
        await self._caller.reach()
        return answer

    async def failing(self, router: Router, since: int) -> Failing:
        await self._caller.reach()
        answer = await self._router(router).failing(since)
        await self._caller.reach()
        return answer

    async def lacking(self, router: Router) -> Lacking:
        """Nobody names a version here."""
        await self._caller.reach()
        self._router(router)
        await asyncio.sleep(LONG_POLL)
        return Lacking(versions=[])

    def _router(self, router: Router) -> SimulatedRouter:
        """Who answers at its address: a router that was started again answers in the place of the one before it."""
        found = self._hosts[router.admin].router
        if found is None or not found.process.alive or not found.process.connected:
            raise Unavailable(f'router "{router.name}" does not answer')
        return found
