"""The routers, seen from outside: what they have applied, and what they have counted.

Used by agents (an old instance is withdrawn only when every router has the new one) and by the controller (a step is
done when every router has its weights). A router counts as long as its lease does: one that is dead stops being waited
for when its key goes.
"""

import asyncio
from typing import Literal, Protocol

from hotswap.errors import Unavailable
from hotswap.metrics import Counters, Failing, Lacking
from hotswap.mirror import Mirror
from hotswap.model import Router
from hotswap.store import Collection, Stored

Subject = Literal["aliases", "endpoints"]

LONG_POLL = 2.0
"""Seconds a router may keep a question about a revision before it answers "not yet"."""
RETRY_AFTER = 0.1
"""Seconds before a router that did not answer is asked again."""


class Admin(Protocol):
    """The admin port of a router; see `hotswap.admin`."""

    async def applied(self, router: Router, subject: Subject, revision: int) -> bool:
        """Whether it has the revision, now or within a moment; false too when it does not answer."""

    async def counters(self, router: Router, function: str) -> Counters:
        """Raises `Unavailable` when it does not answer."""

    async def failing(self, router: Router, since: int) -> Failing:
        """Which versions had bad invocations after that look, as soon as there are any or after `LONG_POLL`. Raises
        `Unavailable` when it does not answer."""

    async def lacking(self, router: Router) -> Lacking:
        """Which versions are named by invocations and run nowhere, as soon as there are any or after `LONG_POLL`.
        Raises `Unavailable` when it does not answer."""


class Routers:
    """`mirror` is kept up by its owner."""

    def __init__(self, known: Collection[Router], mirror: Mirror[Router], admin: Admin) -> None:
        self._known = known
        self._mirror = mirror
        self._admin = admin

    async def applied(self, subject: Subject, revision: int) -> None:
        """Returns when every router that lives has the revision. Sets no limit of its own: the caller does.

        The store is asked who there is: a watch may not have told yet of a router that already routes.
        """
        await asyncio.gather(*(self._one_applied(stored, subject, revision) for stored in await self._living()))

    async def counters(self, function: str) -> list[Counters]:
        """Of every router that lives; raises `Unavailable` when one does not answer, since a part is not the whole."""
        return await asyncio.gather(*(self._admin.counters(stored.value, function) for stored in self._mirror))

    async def _living(self) -> list[Stored[Router]]:
        while True:
            try:
                return await self._known.list()
            except Unavailable:
                await asyncio.sleep(RETRY_AFTER)

    async def _one_applied(self, listed: Stored[Router], subject: Subject, revision: int) -> None:
        while stored := self._latest(listed):
            if await self._admin.applied(stored.value, subject, revision):
                return
            await asyncio.sleep(RETRY_AFTER)

    def _latest(self, listed: Stored[Router]) -> Stored[Router] | None:
        """`None` when it has gone since it was listed."""
        return self._mirror.get(listed.key) or (listed if self._mirror.revision < listed.mod_revision else None)
