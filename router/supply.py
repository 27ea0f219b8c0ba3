"""What an invocation may have to wait for: a row to count it in, and an endpoint that is ready."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from typing import Final, Protocol

from hotswap.metrics import Count
from router.balance import Load
from router.counters import Counting, Own
from router.endpoints import Endpoints, Full
from router.problems import Problem
from router.routes import Route
from router.table import VersionEntry

RETRY_AFTER: Final = (("Retry-After", "1"),)
ROW_LIMIT: Final = 5.0
"""Seconds for the parent to say where a version that was named itself is counted."""

AskRow = Callable[[str, int], Awaitable[int]]
"""Where invocations of (function, version) are counted that named the version."""


class Waiting(Protocol):
    """An invocation that needs an endpoint."""

    cold: bool
    """It had to wait for its instance."""

    @property
    def name(self) -> str: ...

    @property
    def terms(self) -> VersionEntry: ...

    @property
    def tried(self) -> Collection[Load]:
        """Endpoints that took no connection."""


class Supply:
    def __init__(self, counting: Counting, ask_row: AskRow, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counting = counting
        self._ask_row = ask_row

    async def row(self, route: Route, version: int) -> int:
        """Raises `Problem`."""
        try:
            async with asyncio.timeout(ROW_LIMIT):
                return await self._ask_row(route.function, version)
        except TimeoutError:
            detail = "the router does not answer itself; see its log"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, fields=RETRY_AFTER) from None

    async def endpoint(self, waiting: Waiting, endpoints: Endpoints) -> Load:
        """One that is ready, held until there is one. Raises `Problem`."""
        if load := endpoints.take(self._clock(), avoid=waiting.tried):
            return load
        waiting.cold = waiting.cold or endpoints.empty
        self._counting.own(Own.HELD)
        limit = waiting.terms.start_timeout
        try:
            async with asyncio.timeout(limit):
                return await endpoints.hold(avoid=waiting.tried)
        except Full:
            detail = f"too many invocations wait for an instance of {waiting.name}"
        except TimeoutError:
            detail = f"no instance of {waiting.name} was ready within {limit:g} s"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, outcome=Count.PLATFORM, fields=RETRY_AFTER)
