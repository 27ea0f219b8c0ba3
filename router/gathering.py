"""What a watch tells, taken together while it comes fast.

Most of what a change costs the router does not depend on how much changes: a message to every worker, and an answer
from each. So one that comes alone is taken at once, and those that come while another is dealt with are taken as one.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import chain
from typing import Generic, TypeVar

from hotswap.model import Record
from hotswap.store import Changes

R = TypeVar("R", bound=Record)


class Gathering(Generic[R]):
    def __init__(self) -> None:
        self._waiting: list[Changes[R]] = []
        self._came = asyncio.Event()

    async def read(self, batches: AsyncIterator[Changes[R]]) -> None:
        """For as long as there are any: somebody else's task."""
        async for changes in batches:
            self._waiting.append(changes)
            self._came.set()

    async def take(self) -> Changes[R]:
        """All that has come since the last time; a whole list by itself."""
        await self._came.wait()
        waiting = self._waiting
        taken = waiting[:1] if waiting[0].whole else waiting[:]
        del waiting[: len(taken)]
        if not waiting:
            self._came.clear()
        changes = tuple(chain.from_iterable(it.changes for it in taken))
        return Changes(changes, taken[-1].revision, taken[0].whole)
