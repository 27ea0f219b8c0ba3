"""Which versions had bad invocations of late, told as soon as somebody asks, or there are some.

A controller that asked for all counts often enough to see the first errors of a version at once would do little else.
Here it is told that there is something to look at. What is told may be too much (an error of the stable version) and,
where more than a ring holds came between two looks, too little: nothing rests on it but when counts are asked for.
"""

import asyncio
from collections.abc import Callable, Iterator

from hotswap.metrics import Failing, Failure
from router.counters import CounterFile
from router.rows import Rows

LOOK_EVERY = 0.03
"""Seconds between two looks while somebody waits: one word for each worker."""
MOST = 4_096
"""Versions that are remembered; the one that failed last stays longest."""


class Bad:
    def __init__(self, rows: Rows, *, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._clock = clock
        self._read: dict[CounterFile, int] = {}
        """How many bad invocations of each file were looked at."""
        self._looks = 0
        self._last: dict[Failure, int] = {}
        """In which look each was seen last, the newest at the end."""

    async def since(self, look: int, *, wait: float) -> Failing:
        """What was seen after that look, at once or within the time; a look that was never made is one of another
        process, and all is told."""
        ends = self._clock() + wait
        while True:
            found = self._after(look)
            if found or self._clock() >= ends:
                return Failing(look=self._looks, failures=found)
            await asyncio.sleep(LOOK_EVERY)

    def _after(self, look: int) -> list[Failure]:
        self._look()
        before = look if look <= self._looks else 0
        found = []
        for failure, seen in reversed(self._last.items()):
            if seen <= before:
                break
            found.append(failure)
        return found

    def _look(self) -> None:
        failures = set(self._new())
        if not failures:
            return
        self._looks += 1
        for failure in failures:
            self._last.pop(failure, None)
            self._last[failure] = self._looks
        while len(self._last) > MOST:
            del self._last[next(iter(self._last))]

    def _new(self) -> Iterator[Failure]:
        for file in self._rows.files:
            self._read[file], rows = file.bad(self._read.get(file, 0))
            for owner in filter(None, map(self._rows.owner, rows)):
                if owner.alias:  # what named its version counts for nobody
                    yield Failure(function=owner.function, alias=owner.alias, version=owner.version)
