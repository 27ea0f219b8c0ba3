"""Keeps the assignments in step with aliases, deployments and nodes, whoever changed them.

Each change marks the functions that it concerns; each marked function is settled, some at a time, and again after a
while if it could not be.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from controller.placement import Placement
from hotswap import errors, kv
from hotswap.deployment import Active
from hotswap.mirror import Mirror
from hotswap.model import Alias, Node
from hotswap.store import Broken, Changes, Gone, Store, Stored

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Functions that are settled at the same time."""
RETRY_AFTER = 1.0


class Janitor:
    def __init__(self, *, store: Store, nodes: Mirror[Node], placement: Placement) -> None:
        self._store = store
        self._nodes = nodes
        self._placement = placement
        self._known: set[str] = set()
        """Functions that have, or had, something to run."""
        self._marked: set[str] = set()
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        """Never returns. Raises (in a group) `NotLeader`.

        Nothing is settled before the watches have told what stands: an end that comes between a read and the beginning
        of its watch would be told by neither.
        """
        async with self._store.aliases.watch() as aliases, self._store.active.watch() as active:
            self._mark_all(await anext(aliases))
            self._mark_all(await anext(active))
            await self._mark_assigned()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(aliases), name="janitor: aliases")
                tasks.create_task(self._follow(active), name="janitor: deployments")
                tasks.create_task(self._follow_nodes(), name="janitor: nodes")
                tasks.create_task(self._follow_pins(), name="janitor: pins")
                for _ in range(AT_ONCE):
                    tasks.create_task(self._settle(), name="janitor")

    async def _mark_assigned(self) -> None:
        async with self._store.assignments.watch() as batches:  # which tells of what cannot be read, and goes on
            for change in (await anext(batches)).changes:
                self._mark(change.value.function if isinstance(change, Stored) else change.parts[1])

    async def _follow(self, batches: AsyncIterator[Changes[Alias]] | AsyncIterator[Changes[Active]]) -> None:
        async for batch in batches:
            self._mark_all(batch)

    def _mark_all(self, batch: Changes[Alias] | Changes[Active]) -> None:
        for change in batch.changes:
            self._mark(_function(change))

    async def _follow_nodes(self) -> None:
        """By the mirror that the placement reads: so it has a change before its functions are settled."""
        while True:
            await self._nodes.changed()
            for function in sorted(self._known):
                self._mark(function)

    async def _follow_pins(self) -> None:
        while True:
            self._mark(await self._placement.unpinned())

    def _mark(self, function: str) -> None:
        self._known.add(function)
        if function not in self._marked:
            self._marked.add(function)
            self._queue.put_nowait(function)

    async def _settle(self) -> None:
        while True:
            function = await self._queue.get()
            self._marked.discard(function)
            try:
                await self._placement.settle(function)
            except errors.NotLeader:
                raise
            except (errors.HotswapError, kv.KVError) as error:
                log.warning('the assignments of "%s" are not settled yet: %s', function, error)
                await self._later(function)
            except Exception:  # one function's fault must not end the others' leader
                log.exception('the assignments of "%s" cannot be settled', function)
                await self._later(function)

    async def _later(self, function: str) -> None:
        await asyncio.sleep(RETRY_AFTER)
        self._mark(function)


def _function(change: Stored[Alias] | Stored[Active] | Gone | Broken) -> str:
    match change:
        case Stored(value=value):
            return value.function
        case Gone(parts=parts) | Broken(parts=parts):
            return parts[0]
