"""Versions that are invoked by their number while nothing has them run: they run for a while, on one node.

A router holds such an invocation, and tells of it who keeps a question waiting there. The version is lent a place, of
which the janitor makes an assignment, and the invocation goes on when there is an endpoint: nothing stands between
the two but what starts any version. It is not written down. A leader that takes over knows of no such version, takes
away what nothing else wants, and is told again as soon as somebody waits again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from controller.hearing import hear
from hotswap.errors import Unavailable
from hotswap.kv import KVError
from hotswap.metrics import Counters, Lacking
from hotswap.mirror import Mirror
from hotswap.model import Router
from hotswap.store import Store

log = logging.getLogger(__name__)

KEPT = 300.0
"""Seconds after which a version is taken away that was not invoked by its number in the meantime."""
MOST = 64
"""Versions that run on demand; one more takes the place of the one whose time would be over first."""
LOOK_EVERY = 5.0
PAUSE = 0.5
"""Seconds between two questions to a router that has told of versions: their endpoints may not be there yet."""

Key = tuple[str, int]
"""Function and version."""


class Admin(Protocol):
    async def lacking(self, router: Router) -> Lacking: ...


class Lending(Protocol):
    """See `controller.placement.Placement`."""

    def lend(self, function: str, version: int) -> None: ...

    def take_back(self, function: str, version: int) -> None: ...


@dataclass(slots=True)
class Lent:
    until: float
    """By the loop's clock."""
    invocations: int = 0
    """That had named it when that was last looked at; routers count from their own starts."""


class Demand:
    """`routers` is kept up by its owner; `counters` are those of all of them, and raise `Unavailable`."""

    def __init__(
        self,
        *,
        store: Store,
        routers: Mirror[Router],
        admin: Admin,
        counters: Callable[[str], Awaitable[list[Counters]]],
        placement: Lending,
    ) -> None:
        self._store = store
        self._routers = routers
        self._admin = admin
        self._counters = counters
        self._placement = placement
        self._lent: dict[Key, Lent] = {}

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hear(self._routers, self._ask, name="what is lacking"), name="demand")
            tasks.create_task(self._look(), name="demand: what is used")

    async def _ask(self, router: Router) -> None:
        told = await self._admin.lacking(router)
        for named in told.versions:
            self._lend((named.function, named.version))
        if told.versions:
            await asyncio.sleep(PAUSE)

    def _lend(self, key: Key) -> None:
        if key in self._lent:
            self._lent[key].until = _now() + KEPT
            return
        while len(self._lent) >= MOST:
            self._take_back(min(self._lent, key=lambda it: self._lent[it].until))
        self._lent[key] = Lent(_now() + KEPT)
        self._placement.lend(*key)

    def _take_back(self, key: Key) -> None:
        """Nothing where another version has got its place meanwhile."""
        if self._lent.pop(key, None):
            self._placement.take_back(*key)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for key in [*self._lent]:
                try:
                    await self._check(key)
                except (Unavailable, KVError) as error:  # who does not answer cannot say that nobody uses it
                    log.info("%s version %d runs on: %s", *key, error)

    async def _check(self, key: Key) -> None:
        """Takes it back if it was unpublished, or if its time is over and nobody has used it."""
        lent = self._lent.get(key)
        if lent is None:
            return
        if await self._store.versions.get(*key) is None:
            self._take_back(key)
        elif lent.until <= _now():
            if await self._used(key, lent):
                lent.until = _now() + KEPT
            else:
                self._take_back(key)

    async def _used(self, key: Key, lent: Lent) -> bool:
        """By number, since that was last asked."""
        function, version = key
        rows = [row for told in await self._counters(function) for row in told.rows]
        mine = [row for row in rows if not row.alias and row.version == version]
        before, lent.invocations = lent.invocations, sum(row.tally.invocations for row in mine)
        return lent.invocations != before or any(row.in_flight for row in mine)


def _now() -> float:
    return asyncio.get_running_loop().time()
