"""Questions about functions that are asked of one place within a moment are asked together.

Whoever carries out a deployment asks for the counts of its function every few seconds. With a thousand deployments that
would be hundreds of requests a second to each place, and most of the asker's work. Each is still answered with what was
known after it had asked.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

GATHER = 0.05
"""Seconds for which a question waits for others."""
GATHER_MOST = 32
"""Functions in one request: who answers does so in one piece, in a few milliseconds."""

P = TypeVar("P", bound=Hashable)
A = TypeVar("A")


@dataclass(eq=False)
class Gathering(Generic[A]):
    """Functions that will be asked about together."""

    functions: set[str]
    answer: asyncio.Task[Mapping[str, A]] = field(init=False)


class Questions(Generic[P, A]):
    """`ask` is given a place and functions, and has an answer for each of them; what it raises reaches all who asked.
    To be closed by its owner."""

    def __init__(self, ask: Callable[[P, set[str]], Coroutine[Any, Any, Mapping[str, A]]]) -> None:
        self._ask = ask
        self._gathering: dict[P, Gathering[A]] = {}
        """By place, what is still open for more."""
        self._asking: set[asyncio.Task[Mapping[str, A]]] = set()

    async def answer(self, place: P, function: str) -> A:
        gathering = self._gathering.get(place) or self._gather(place)
        gathering.functions.add(function)
        if len(gathering.functions) == GATHER_MOST:
            del self._gathering[place]
        told = await asyncio.shield(gathering.answer)  # one that waits no more ends it for nobody else
        return told[function]

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _gather(self, place: P) -> Gathering[A]:
        gathering = self._gathering[place] = Gathering(set())
        gathering.answer = asyncio.create_task(self._together(place, gathering), name=f"questions to {place}")
        self._asking.add(gathering.answer)
        gathering.answer.add_done_callback(self._asked)
        return gathering

    async def _together(self, place: P, gathering: Gathering[A]) -> Mapping[str, A]:
        await asyncio.sleep(GATHER)
        if self._gathering.get(place) is gathering:
            del self._gathering[place]
        return await self._ask(place, gathering.functions)

    def _asked(self, answer: asyncio.Task[Mapping[str, A]]) -> None:
        self._asking.discard(answer)
        if not answer.cancelled():
            answer.exception()  # looked at, should nobody be left who waits for it
