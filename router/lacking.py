"""Which versions invocations wait for that have named them, since they run nowhere.

No alias gives them traffic, so nobody has them run. Who waits is counted as being in flight, so the parent sees it in
the rows of what is named itself; no worker has to tell, and what has instances costs nothing.
"""

import asyncio
from collections.abc import Callable, Iterator

from hotswap.metrics import Named
from router.rows import Owner, Rows
from router.table import Table

LOOK_EVERY = 0.03
"""Seconds between two looks while somebody waits: one word for each worker and version that was named."""


class Lacks:
    def __init__(self, rows: Rows, table: Callable[[], Table], *, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._table = table
        self._clock = clock

    async def told(self, *, wait: float) -> list[Named]:
        """At once if there are any, else those that come within the time."""
        ends = self._clock() + wait
        while True:
            found = [Named(function=owner.function, version=owner.version) for owner in self._lacking()]
            if found or self._clock() >= ends:
                return found
            await asyncio.sleep(LOOK_EVERY)

    def _lacking(self) -> Iterator[Owner]:
        functions = self._table().functions
        for owner in self._rows.named():
            function = functions.get(owner.function)
            if function and owner.version in function.versions and not function.endpoints.get(owner.version):
                yield owner
