"""Mutations that are being made: each is made to its end, also when whoever asked for it has gone."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from hotswap.errors import HotswapError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Underway:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The result; if the caller is cancelled meanwhile the work goes on."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell)
            raise

    async def end(self, limit: float) -> None:
        """Returns when all of it has ended; cancels what has not after `limit` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _tell(task: asyncio.Task[Any]) -> None:
    """What became of it, where nobody is left to be answered."""
    if task.cancelled() or not (error := task.exception()):
        return
    if isinstance(error, HotswapError):
        log.info("a mutation whose caller has gone was refused: %s", error.message)
    else:
        log.error("a mutation whose caller has gone failed by a fault of the controller", exc_info=error)
