"""Waiting for what is to come true, with a limit: no test waits for a time."""

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY = 0.05
"""Seconds."""
PATIENCE = float(os.environ.get("HOTSWAP_TEST_PATIENCE", "1"))
"""By which the limits are multiplied, on a machine that is slow."""


async def eventually(what: Callable[[], T], *, limit: float = 60.0) -> T:
    """Asks again and again until the answer is true, and returns it; `TimeoutError` after `limit` seconds."""
    async with asyncio.timeout(limit * PATIENCE):
        while not (answer := what()):  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(LOOK_EVERY)
        return answer
