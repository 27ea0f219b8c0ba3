"""The zygotes of an agent: one of the platform, and one for each set of packages of which something is preloaded.

What is preloaded is what the agent was told to; of a set that brings such modules itself the set's. Nothing of a
function's own is ever imported, since packages have a folder of their own (`agent.packages`). There is one interpreter,
the agent's. A set's zygote is begun when an instance with that set starts; that one, and those that come before it is
ready, are the platform's. So nobody waits for it, and if nothing of the set can be preloaded nothing is lost.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path

from agent import packages
from agent.cgroups import Groups
from agent.zygote import Zygote

log = logging.getLogger(__name__)

TIDY_EVERY = 60.0
"""Seconds."""


class Zygotes:
    def __init__(self, groups: Groups, *, preload: Sequence[str], most: int, bytecode: Path) -> None:
        """`most` sets have one at the same time. The compiled modules of a set are in a folder of its name in
        `bytecode`."""
        self.platform = Zygote(groups, preload=preload)
        self._groups = groups
        self._preload = preload if most else ()
        self._most = most
        self._bytecode = bytecode
        self._of_sets: OrderedDict[Path, Zygote] = OrderedDict()
        """The last used last."""
        self._useless: set[Path] = set()
        """Sets of which nothing can be preloaded."""
        self._warming: set[asyncio.Task[None]] = set()
        self._leaving: dict[asyncio.Task[None], Zygote] = {}

    def __iter__(self) -> Iterator[Zygote]:
        """All that have a process."""
        return iter([self.platform, *self._of_sets.values(), *self._leaving.values()])

    @property
    def busy(self) -> bool:
        """What one of them has just forked is nobody's for a moment."""
        return any(zygote.busy for zygote in self)

    def of(self, found: Path | None) -> Zygote:
        """From which an instance with this set of packages is forked now. It is to be asked at once, so that it forks
        before it ends, if it has to."""
        if found is None or found in self._useless:
            return self.platform
        zygote = self._of_sets.get(found) or self._begin(found)
        if zygote is None:
            return self.platform
        self._of_sets.move_to_end(found)
        return zygote if zygote.ready else self.platform

    def keep(self, in_use: Set[Path]) -> None:
        """Those of these sets, and no others."""
        self._useless &= in_use
        for found in [found for found in self._of_sets if found not in in_use]:
            self._end(self._of_sets.pop(found))

    async def tidy(self, in_use: Callable[[], Set[Path]]) -> None:
        """Again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(TIDY_EVERY)
            self.keep(in_use())

    async def close(self) -> None:
        for task in self._warming:
            task.cancel()
        self.keep(frozenset())
        await asyncio.gather(*self._warming, *self._leaving, self.platform.close(), return_exceptions=True)

    def _begin(self, found: Path) -> Zygote | None:
        names = [name for name in self._preload if packages.brings(found, name)]
        if not names:
            return None
        zygote = self._of_sets[found] = Zygote(
            self._groups, preload=names, packages=found, bytecode=self._bytecode / found.name
        )
        task = asyncio.create_task(self._warmed(found, zygote), name=f"warm {found.name}")
        self._warming.add(task)
        task.add_done_callback(self._warming.discard)
        if len(self._of_sets) > self._most:
            _, last = self._of_sets.popitem(last=False)
            self._end(last)
        return zygote

    async def _warmed(self, found: Path, zygote: Zygote) -> None:
        await zygote.warm()
        if zygote.preload:
            return
        log.warning("instances with the packages %s are forked without them", found.name[:12])
        self._useless.add(found)
        if self._of_sets.get(found) is zygote:
            self._end(self._of_sets.pop(found))

    def _end(self, zygote: Zygote) -> None:
        task = asyncio.create_task(zygote.close(), name="end a zygote")
        self._leaving[task] = zygote
        task.add_done_callback(self._leaving.pop)
