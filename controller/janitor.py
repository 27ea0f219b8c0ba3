"""Keeps the assignments in step with aliases, deployments and nodes, whoever changed them.

Each change marks the functions that it concerns; each marked function is settled, some at a time, and again after a
while if it could not be. The assignments are followed too: one may be written late, by a call that was given up.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TypeVar

from controller.placement import Placement
from hotswap import errors, kv
from hotswap.deployment import Active
from hotswap.mirror import Mirror
from hotswap.model import Alias, Assignment, Node
from hotswap.store import Changes, Store, Stored

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Functions that are settled at the same time."""
RETRY_AFTER = 1.0

Of = TypeVar("Of", Alias, Active, Assignment)


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
        store = self._store
        async with (
            store.aliases.watch() as aliases,
            store.active.watch() as active,
            store.assignments.watch() as assigned,
        ):
            self._mark_all(await anext(aliases))
            self._mark_all(await anext(active))
            self._mark_all(await anext(assigned), part=1)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(aliases), name="janitor: aliases")
                tasks.create_task(self._follow(active), name="janitor: deployments")
                tasks.create_task(self._follow(assigned, part=1), name="janitor: assignments")
                tasks.create_task(self._follow_nodes(), name="janitor: nodes")
                tasks.create_task(self._follow_moves(), name="janitor: what is pinned or lent")
                for _ in range(AT_ONCE):
                    tasks.create_task(self._settle(), name="janitor")

    async def _follow(self, batches: AsyncIterator[Changes[Of]], *, part: int = 0) -> None:
        async for batch in batches:
            self._mark_all(batch, part=part)

    def _mark_all(self, batch: Changes[Of], *, part: int = 0) -> None:
        """`part`: where the function is in the keys."""
        for change in batch.changes:
            self._mark(change.value.function if isinstance(change, Stored) else change.parts[part])

    async def _follow_nodes(self) -> None:
        """By the mirror that the placement reads: so it has a change before its functions are settled."""
        while True:
            await self._nodes.changed()
            for function in sorted(self._known):
                self._mark(function)

    async def _follow_moves(self) -> None:
        while True:
            self._mark(await self._placement.moved())

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
