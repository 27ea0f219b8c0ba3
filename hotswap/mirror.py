"""A collection kept in memory by its watch: what readers look at, and wait on, without asking the store.

A value is replaced only by one with a greater revision, so that a late message never takes the mirror back.
A value that does not parse leaves the last good one in place and is told in `broken`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from hotswap.model import Record
from hotswap.store import Broken, Changes, Collection, Gone, Stored

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Mirror(Generic[R]):
    def __init__(self) -> None:
        self.revision = 0
        """Everything in the store up to this revision is in the mirror."""
        self.broken: dict[str, str] = {}
        """key -> what is wrong with the value that stands there"""
        self._items: dict[str, Stored[R]] = {}
        self._changed = asyncio.Event()

    def get(self, key: str) -> Stored[R] | None:
        return self._items.get(key)

    def __iter__(self) -> Iterator[Stored[R]]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def apply(self, changes: Changes[R], collection: Collection[R]) -> None:
        if changes.whole:
            self._keep_only({_key(change, collection) for change in changes.changes})
        for change in changes.changes:
            key = _key(change, collection)
            known = self._items.get(key)
            if known and change.mod_revision <= known.mod_revision:
                continue
            match change:
                case Stored():
                    self._items[key] = change
                    self.broken.pop(key, None)
                case Gone():
                    self._items.pop(key, None)
                    self.broken.pop(key, None)
                case Broken(error=error):
                    self.broken[key] = error
        self.revision = max(self.revision, changes.revision)
        self._changed.set()
        self._changed = asyncio.Event()

    def _keep_only(self, keys: set[str]) -> None:
        self._items = {key: item for key, item in self._items.items() if key in keys}
        self.broken = {key: error for key, error in self.broken.items() if key in keys}

    async def changed(self) -> None:
        """Returns after the next change that is applied."""
        await self._changed.wait()

    async def until(self, what: Callable[["Mirror[R]"], T | None]) -> T:
        """Waits until `what(mirror)` is neither `None` nor false, and returns it."""
        while not (found := what(self)):
            await self.changed()
        return found


async def until_any(mirrors: Iterable[Mirror[Any]], what: Callable[[], T | None]) -> T:
    """Waits until `what()`, which looks at all of these, is neither `None` nor false, and returns it."""
    while not (found := what()):
        changes = [asyncio.create_task(mirror.changed(), name="mirror changed") for mirror in mirrors]
        try:
            await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for change in changes:
                change.cancel()
    return found


def _key(change: Stored[R] | Gone | Broken, collection: Collection[R]) -> str:
    return change.key if isinstance(change, Stored) else collection.key(*change.parts)


@asynccontextmanager
async def mirrored(collection: Collection[R], *parts: str | int) -> AsyncIterator[Mirror[R]]:
    """A mirror that holds the whole collection (or folder of it) from the start, kept up until the context ends.

    What is raised inside the context leaves it as it is, not in a group of exceptions.
    """
    mirror: Mirror[R] = Mirror()
    raised: Exception | None = None
    async with collection.watch(*parts) as batches, asyncio.TaskGroup() as tasks:
        mirror.apply(await anext(batches), collection)

        async def follow() -> None:
            async for changes in batches:
                mirror.apply(changes, collection)

        follower = tasks.create_task(follow(), name="mirror")
        try:
            yield mirror
        except Exception as error:  # raised again below, outside of the group
            raised = error
        finally:
            follower.cancel()
    if raised:
        raise raised
