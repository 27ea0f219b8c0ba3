"""The admin ports of routers, asked by HTTP.

Whoever carries out a deployment asks for the counts of its function every few seconds. With a thousand deployments that
would be hundreds of requests a second to each router, and most of the asker's work. So what is asked of one router
within a moment is asked together, and still answered with what was counted after each had asked.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec

from hotswap.errors import Unavailable
from hotswap.metrics import CounterRow, Counters, Failing, NodeRow
from hotswap.model import Router
from hotswap.routers import LONG_POLL, Subject

ANSWER_LIMIT = 5.0
"""Seconds for any answer of a router's admin port."""
GATHER = 0.05
"""Seconds for which a question about counts waits for others."""
GATHER_MOST = 32
"""Functions in one request: a router sums their counts in one piece, in a few milliseconds."""


@dataclass(eq=False)
class Gathering:
    """Functions whose counts will be asked for together."""

    functions: set[str]
    answer: asyncio.Task[dict[str, Counters]] = field(init=False)


class HttpAdmin:
    """`session` is closed by its owner, after this; see `admin_ports`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._gathering: dict[str, Gathering] = {}
        """By address, what is still open for more."""
        self._asking: set[asyncio.Task[dict[str, Counters]]] = set()

    async def applied(self, router: Router, subject: Subject, revision: int) -> bool:
        url = f"http://{router.admin}/applied"
        query = {"subject": subject, "revision": str(revision), "wait": str(LONG_POLL)}
        try:
            async with self._session.get(url, params=query, timeout=_limit()) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def counters(self, router: Router, function: str) -> Counters:
        gathering = self._gathering.get(router.admin) or self._gather(router)
        gathering.functions.add(function)
        if len(gathering.functions) == GATHER_MOST:
            del self._gathering[router.admin]
        told = await asyncio.shield(gathering.answer)  # one that waits no more ends it for nobody else
        return told[function]

    async def failing(self, router: Router, since: int) -> Failing:
        url, query = f"http://{router.admin}/failing", {"since": str(since), "wait": str(LONG_POLL)}
        try:
            async with self._session.get(url, params=query, timeout=_limit()) as answer:
                answer.raise_for_status()
                return msgspec.json.decode(await answer.read(), type=Failing)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise Unavailable(f'router "{router.name}" at {router.admin} does not tell what fails: {error}') from error

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _gather(self, router: Router) -> Gathering:
        gathering = self._gathering[router.admin] = Gathering(set())
        gathering.answer = asyncio.create_task(self._ask(router, gathering), name=f"counters of {router.name}")
        self._asking.add(gathering.answer)
        gathering.answer.add_done_callback(self._asked)
        return gathering

    def _asked(self, answer: asyncio.Task[dict[str, Counters]]) -> None:
        self._asking.discard(answer)
        if not answer.cancelled():
            answer.exception()  # looked at, should nobody be left who waits for it

    async def _ask(self, router: Router, gathering: Gathering) -> dict[str, Counters]:
        await asyncio.sleep(GATHER)
        if self._gathering.get(router.admin) is gathering:
            del self._gathering[router.admin]
        told = await self._counters(router, gathering.functions)
        rows: defaultdict[str, list[CounterRow]] = defaultdict(list)
        for row in told.rows:
            rows[row.function].append(row)
        nodes: defaultdict[str, list[NodeRow]] = defaultdict(list)
        for node in told.nodes:
            nodes[node.function].append(node)
        return {
            name: Counters(router=told.router, boot=told.boot, rows=rows[name], nodes=nodes[name])
            for name in gathering.functions
        }

    async def _counters(self, router: Router, functions: set[str]) -> Counters:
        url, query = f"http://{router.admin}/counters", [("function", name) for name in sorted(functions)]
        try:
            async with self._session.get(url, params=query, timeout=_limit()) as answer:
                answer.raise_for_status()
                return msgspec.json.decode(await answer.read(), type=Counters)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise Unavailable(
                f'router "{router.name}" at {router.admin} does not tell its counters: {error}'
            ) from error


@asynccontextmanager
async def admin_ports() -> AsyncIterator[HttpAdmin]:
    """With as many connections as there are questions: one about a revision is kept for as long as `LONG_POLL`."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        admin = HttpAdmin(session)
        try:
            yield admin
        finally:
            await admin.close()


def _limit() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=ANSWER_LIMIT)
