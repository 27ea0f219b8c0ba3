"""What becomes of notices, in the store: delivered, given up, or wanted by nobody.

A notice names the hooks that are done with it, and is deleted with the last: so a new leader delivers what is left, and
nothing stays behind. A hook that is added gets what happens after that; by revisions, so that no clock is asked.

Whether a hook still waits is read anew for each of these writes. A mark that leaves the notice for another hook
requires that the other still stands: either it is removed later, and then whoever sees that looks at the notice again,
or the mark is made anew.
"""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from hotswap.hook import Deliveries, Hook, Undelivered
from hotswap.notice import Notice
from hotswap.store import Fence, Store, Stored, Transaction

KEPT = 100
"""Undelivered notices that are kept for each hook, the newest; few enough to be deleted in one transaction."""


def awaits(hook: Stored[Hook], notice: Stored[Notice]) -> bool:
    """Whether the notice is still to be delivered to the hook."""
    return (
        hook.create_revision < notice.create_revision
        and hook.value.name not in notice.value.done
        and hook.value.wants(notice.value)
    )


class Outbox:
    """Raises what a transaction raises; after a `Conflict` the same call may be made again."""

    def __init__(self, *, store: Store, fence: Fence, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._fence = fence
        self._clock = clock

    async def delivered(self, notice: Stored[Notice], hook: Stored[Hook]) -> None:
        before, transaction = await self._deliveries(hook), self._transaction()
        after = Deliveries(hook=hook.value.name, delivered=_count(before) + 1, last=self._clock())
        await self._done(notice, hook, transaction.put(after, over=before))

    async def given_up(self, notice: Stored[Notice], hook: Stored[Hook], error: str) -> None:
        transaction = await self._failed(hook, error)
        name = hook.value.name
        undelivered = Undelivered(hook=name, notice=notice.value, error=error, at=self._clock())
        kept = sorted(await self._store.undelivered.list(name), key=lambda stored: stored.create_revision)
        for oldest in kept[: max(0, len(kept) + 1 - KEPT)]:
            transaction.delete(oldest)
        await self._done(notice, hook, transaction.create(undelivered))

    async def failed(self, hook: Stored[Hook], error: str) -> None:
        """An attempt; it will be tried again."""
        if current := await self._current(hook):
            await (await self._failed(hook, error)).require(current).commit()

    async def disable(self, hook: Stored[Hook], why: str) -> None:
        if current := await self._current(hook):
            await self._transaction().replace(current, replace(current.value, disabled=why)).commit()

    async def drop(self, notice: Stored[Notice]) -> None:
        """Deletes the notice, unless a hook waits for it."""
        found = await self._found(notice)
        if found and await self._waiting(found) is None:
            await self._transaction().delete(found).commit()

    async def _done(self, notice: Stored[Notice], hook: Stored[Hook], transaction: Transaction) -> None:
        """Commits the transaction, with which the hook is done with the notice; nothing if that is so already."""
        found, current = await self._found(notice), await self._current(hook)
        if found is None or current is None or not awaits(current, found):
            return
        after = Stored(
            replace(found.value, done=[*found.value.done, hook.value.name]),
            found.key,
            found.create_revision,
            found.mod_revision,
        )
        waiting = await self._waiting(after)
        if waiting:
            transaction.replace(found, after.value).require(waiting)
        else:
            transaction.delete(found)
        await transaction.require(current).commit()

    async def _failed(self, hook: Stored[Hook], error: str) -> Transaction:
        before = await self._deliveries(hook)
        known = before.value if before else Deliveries(hook=hook.value.name)
        after = replace(known, failures=known.failures + 1, error=error)
        return self._transaction().put(after, over=before)

    async def _waiting(self, notice: Stored[Notice]) -> Stored[Hook] | None:
        return next((hook for hook in await self._store.hooks.list() if awaits(hook, notice)), None)

    async def _found(self, notice: Stored[Notice]) -> Stored[Notice] | None:
        return await self._store.outbox.get(*self._store.outbox.path_of(notice.value))

    async def _current(self, hook: Stored[Hook]) -> Stored[Hook] | None:
        """As it stands now; `None` when it was removed, if only to be added again."""
        found = await self._store.hooks.get(hook.value.name)
        return found if found and found.create_revision == hook.create_revision else None

    async def _deliveries(self, hook: Stored[Hook]) -> Stored[Deliveries] | None:
        return await self._store.deliveries.get(hook.value.name)

    def _transaction(self) -> Transaction:
        return self._store.transaction(self._fence)


def _count(deliveries: Stored[Deliveries] | None) -> int:
    return deliveries.value.delivered if deliveries else 0
