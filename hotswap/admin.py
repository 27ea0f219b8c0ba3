"""The admin ports of routers, asked by HTTP. What several ask for at once is one request (`hotswap.questions`)."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp
import msgspec

from hotswap.errors import Unavailable
from hotswap.metrics import CounterRow, Counters, Failing, Lacking, NodeRow
from hotswap.model import Router
from hotswap.questions import Questions
from hotswap.routers import LONG_POLL, Subject

ANSWER_LIMIT = 5.0
"""Seconds for any answer of a router's admin port."""

T = TypeVar("T")


class HttpAdmin:
    """`session` is closed by its owner, after this; see `admin_ports`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._questions = Questions(self._told)
        """To each router, by its name and address."""

    async def applied(self, router: Router, subject: Subject, revision: int) -> bool:
        url = f"http://{router.admin}/applied"
        query = {"subject": subject, "revision": str(revision), "wait": str(LONG_POLL)}
        try:
            async with self._session.get(url, params=query, timeout=_limit()) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def counters(self, router: Router, function: str) -> Counters:
        return await self._questions.answer((router.name, router.admin), function)

    async def failing(self, router: Router, since: int) -> Failing:
        query = [("since", str(since)), ("wait", str(LONG_POLL))]
        return await self._asked(router.name, router.admin, "failing", query, Failing)

    async def lacking(self, router: Router) -> Lacking:
        return await self._asked(router.name, router.admin, "lacking", [("wait", str(LONG_POLL))], Lacking)

    async def close(self) -> None:
        await self._questions.close()

    async def _told(self, place: tuple[str, str], functions: set[str]) -> Mapping[str, Counters]:
        told = await self._counters(*place, functions)
        rows: defaultdict[str, list[CounterRow]] = defaultdict(list)
        for row in told.rows:
            rows[row.function].append(row)
        nodes: defaultdict[str, list[NodeRow]] = defaultdict(list)
        for node in told.nodes:
            nodes[node.function].append(node)
        return {
            name: Counters(router=told.router, boot=told.boot, rows=rows[name], nodes=nodes[name]) for name in functions
        }

    async def _counters(self, router: str, address: str, functions: set[str]) -> Counters:
        query = [("function", name) for name in sorted(functions)]
        return await self._asked(router, address, "counters", query, Counters)

    async def _asked(self, router: str, address: str, what: str, query: list[tuple[str, str]], answer: type[T]) -> T:
        try:
            async with self._session.get(f"http://{address}/{what}", params=query, timeout=_limit()) as response:
                response.raise_for_status()
                return msgspec.json.decode(await response.read(), type=answer)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise Unavailable(f'router "{router}" at {address} does not tell /{what}: {error}') from error


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
