"""The parent's table: brought up to date by the watches, told to the workers, kept on disk."""

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from hotswap.model import Record
from hotswap.store import Collection, Store
from router import snapshot
from router.follow import ALIASES, ENDPOINTS, VERSIONS, Following
from router.gathering import Gathering
from router.protection import Protection
from router.table import Revisions, Table, Update
from router.workers import Workers

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)

GATHER_SECONDS = 0.005
"""From one change to the next that the workers are told: what comes in between is told together."""
SAVE_EVERY = 5.0
"""Seconds between two writes of the table to disk at least."""
SAVE_AGAIN = 30.0
"""Seconds before it is tried again after it could not be written."""


class Keeper:
    def __init__(self, *, folder: Path, workers: Workers, clock: Callable[[], float] = time.monotonic) -> None:
        self.table = Table()
        self._folder = folder
        self._workers = workers
        self._clock = clock
        self._protection = Protection()
        self._changed = asyncio.Event()
        self._pieces: snapshot.Pieces = {}

    @property
    def kept(self) -> int:
        """Endpoints that vanished without being withdrawn and are still used."""
        return self._protection.kept

    async def load(self) -> bool:
        """Whether there is a table on the disk, which the workers then serve."""
        table = await asyncio.to_thread(snapshot.load, self._folder)  # workers are started meanwhile
        if table is None:
            return False
        log.info("%d functions are known from %s", len(table.functions), self._folder)
        self.table = table
        self._workers.apply(table, Update(revisions=table.revisions))
        self._serve()
        return True

    async def follow(self, store: Store) -> None:
        """Never returns. Without a table from the disk the workers serve once all three subjects are read."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(store.aliases, ALIASES), name="aliases")
            tasks.create_task(self._follow(store.versions, VERSIONS), name="versions")
            tasks.create_task(self._follow(store.endpoints, ENDPOINTS), name="endpoints")

    async def save(self) -> None:
        """Keeps the disk up to date; never returns."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await asyncio.to_thread(snapshot.save, self.table, self._folder, self._pieces)
            except OSError as error:
                log.error("the table cannot be written to %s: %s", self._folder, error)  # noqa: TRY400 - says all
                self._changed.set()
                await asyncio.sleep(SAVE_AGAIN)
            await asyncio.sleep(SAVE_EVERY)

    def let_go(self) -> None:
        """Of endpoints that vanished and whose time is over."""
        due = self._protection.due(self.table, now=self._clock())
        if due:
            log.warning("%d endpoints that vanished have not come back and are used no more", len(due))
            self._apply(Update(removed=due))

    async def _follow(self, collection: Collection[R], following: Following[R]) -> None:
        gathering: Gathering[R] = Gathering()
        async with collection.watch() as batches, asyncio.TaskGroup() as tasks:
            tasks.create_task(gathering.read(batches), name=f"read {following.subject}")
            while True:
                changes = await gathering.take()
                update = following.update(changes, self.table)
                self._apply(self._protected(update, listed=changes.whole))
                if not self._workers.serving and _all_read(self.table.revisions):
                    self._serve()
                await asyncio.sleep(GATHER_SECONDS)

    def _serve(self) -> None:
        gc.freeze()  # the first table is not garbage, and to find that out again and again would hold up changes
        self._workers.serve()
        self._changed.set()

    def _protected(self, update: Update, *, listed: bool) -> Update:
        endpoints = [removed for removed in update.removed if removed.subject == "endpoints"]
        superseded = self._protection.announced(update.endpoints)
        if not endpoints and not superseded:
            return update
        effective = self._protection.removals(self.table, endpoints, listed=listed, now=self._clock())
        if len(effective) < len(endpoints):
            held = len(endpoints) - len(effective)
            log.warning("%d endpoints vanished without being withdrawn; they are used until they prove dead", held)
        others = [removed for removed in update.removed if removed.subject != "endpoints"]
        return msgspec.structs.replace(update, removed=[*others, *superseded, *effective])

    def _apply(self, update: Update) -> None:
        self.table = self.table.apply(update)
        self._workers.apply(self.table, update)
        if self._workers.serving:  # half a table is of no use to the next boot
            self._changed.set()


def _all_read(revisions: Revisions) -> bool:
    return bool(revisions.aliases and revisions.endpoints and revisions.versions)
