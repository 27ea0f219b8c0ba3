"""A collection kept in memory by its watch: what readers look at, and wait on, without asking the store.

A value is replaced only by one with a greater revision, so that a late message never takes the mirror back.
A value that does not parse leaves the last good one in place and is told in `broken`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from hotswap.model import Record
from hotswap.store import Broken, Changes, Collection, Gone, Stored

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Mirror(Generic[R]):
    def __init__(self) -> None:
        self.revision = 0
        """Everything in the store up to this revision is in the mirror."""
        self.broken: dict[tuple[str, ...], str] = {}
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
            named = {change.key for change in changes.changes if isinstance(change, Stored)}
            self._items = {key: item for key, item in self._items.items() if key in named}
            self.broken.clear()
        for change in changes.changes:
            match change:
                case Stored():
                    known = self._items.get(change.key)
                    if known is None or change.mod_revision > known.mod_revision:
                        self._items[change.key] = change
                case Gone(parts=parts):
                    self._items.pop(collection.key(*parts), None)
                    self.broken.pop(parts, None)
                case Broken(parts=parts, error=error):
                    self.broken[parts] = error
        self.revision = max(self.revision, changes.revision)
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Returns after the next change that is applied."""
        await self._changed.wait()

    async def until(self, what: Callable[["Mirror[R]"], T | None]) -> T:
        """Waits until `what(mirror)` is neither `None` nor false, and returns it."""
        while not (found := what(self)):
            await self.changed()
        return found


@asynccontextmanager
async def mirrored(collection: Collection[R], *parts: str | int) -> AsyncIterator[Mirror[R]]:
    """A mirror that holds the whole collection (or folder of it) from the start, kept up until the context ends."""
    mirror: Mirror[R] = Mirror()
    async with collection.watch(*parts) as batches, asyncio.TaskGroup() as tasks:
        mirror.apply(await anext(batches), collection)

        async def follow() -> None:
            async for changes in batches:
                mirror.apply(changes, collection)

        follower = tasks.create_task(follow(), name="mirror")
        try:
            yield mirror
        finally:
            follower.cancel()
