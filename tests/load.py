"""A steady load on a router: what a service that invokes functions sees.

Open loop: an invocation is sent at its time whether or not earlier ones were answered, so that a platform that stalls
is not spared by its own slowness.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

ANSWER_LIMIT = 30.0
"""Seconds until an invocation counts as failed for lack of an answer."""


@dataclass
class Seen:
    """What came back, as it stands; still growing while the load runs."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """One line for each invocation without a good answer."""

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())


@asynccontextmanager
async def steady_load(url: str, *, rate: float, body: Callable[[], bytes] = lambda: b"{}") -> AsyncIterator[Seen]:
    """Invokes `rate` times a second until the context ends, then waits for what is under way. Each has a body made."""
    seen = Seen()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT)) as session,
        asyncio.TaskGroup() as tasks,
    ):
        pacer = tasks.create_task(_pace(session, url, rate, body, seen, tasks))
        try:
            yield seen
        finally:
            pacer.cancel()


async def _pace(
    session: aiohttp.ClientSession,
    url: str,
    rate: float,
    body: Callable[[], bytes],
    seen: Seen,
    tasks: asyncio.TaskGroup,
) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    while True:
        due = int((loop.time() - start) * rate)
        while seen.sent < due:
            seen.sent += 1
            tasks.create_task(_invoke(session, url, body(), seen))
        await asyncio.sleep(1 / rate)


async def _invoke(session: aiohttp.ClientSession, url: str, body: bytes, seen: Seen) -> None:
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        seen.failures.append(f"{type(error).__name__}: {error}")
        return
    seen.statuses[answer.status] += 1
    if answer.status != 200:
        seen.failures.append(f"{answer.status}: {text[:300]}")
    seen.versions[int(answer.headers.get("Hotswap-Version", 0))] += 1
