"""An event loop without a clock and without input or output: the same seed runs the same steps in the same order.

Time stands still while anything can run, then jumps to the next timer. Of the tasks that can run, the seed says which
goes first. Plain callbacks keep the order in which they were registered, as asyncio promises, and go before the tasks.
Tasks are told apart by the order of their creation, never by an address or a hash.
"""

import asyncio
import heapq
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import Context
from random import Random
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PRUNE_EVERY = 2_000
"""Tasks; those that are done are let go so often."""
MOST_STEPS = 2_000_000
"""Of one run: one that takes more is busy for nothing."""


class Stuck(Exception):
    """Nothing will ever happen any more, or something happens without end."""


class SimulatedLoop(asyncio.BaseEventLoop):
    def __init__(self, random: Random) -> None:
        self.steps = 0
        self.unhandled: list[str] = []
        """Faults that nobody was there to handle."""
        self._random = random
        self._now = 0.0
        self._callbacks: deque[asyncio.Handle] = deque()
        self._tasks_ready: list[tuple[int, asyncio.Handle]] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_set = 0
        self._numbers: dict[asyncio.Task[Any], int] = {}
        """Tasks in the order of their first step; held while they run, so that none is collected at a moment of the
        collector's."""
        self._numbered = 0
        self._pruned_at = 0
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._stopped = False
        self._running = False
        super().__init__()

    def time(self) -> float:
        return self._now

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Its result; raises `Stuck`, or `RuntimeError` when the loop was stopped before."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._generators.append, finalizer=None)
        asyncio._set_running_loop(self)
        self._running, self._stopped = True, False
        try:
            task = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
            while not task.done():
                if self._stopped:
                    raise RuntimeError("the loop was stopped")
                self._run_one()
            return task.result()
        finally:
            self._running = False
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """Ends all tasks and generators that are left, one after the other if need be."""
        self.steps = 0
        while left := [task for task in self._numbers if not task.done()]:
            self.run_until_complete(_ended(left))
        self.run_until_complete(_closed(self._generators))
        super().close()

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._make_ready(callback, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_set += 1
        heapq.heappush(self._timers, (max(when, self._now), self._timers_set, handle))
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.unhandled.append(f"{context.get('message')}: {context.get('exception')!r}")

    def is_running(self) -> bool:
        return self._running

    def _make_ready(self, callback: Callable[..., object], handle: asyncio.Handle) -> None:
        task = getattr(callback, "__self__", None)
        if isinstance(task, asyncio.Task):
            self._tasks_ready.append((self._number_of(task), handle))
        else:
            self._callbacks.append(handle)

    def _number_of(self, task: asyncio.Task[Any]) -> int:
        number = self._numbers.get(task)
        if number is None:
            number = self._numbers[task] = self._numbered
            self._numbered += 1
            if self._numbered - self._pruned_at > PRUNE_EVERY:
                self._pruned_at = self._numbered
                self._numbers = {task: number for task, number in self._numbers.items() if not task.done()}
        return number

    def _run_one(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Stuck(f"{MOST_STEPS} steps were taken by {self._now:.3f} s, and there is no end")
        if not self._callbacks and not self._tasks_ready:
            self._jump()
            return
        handle = self._callbacks.popleft() if self._callbacks else self._next_task()
        if not handle.cancelled():
            handle._run()

    def _next_task(self) -> asyncio.Handle:
        ready = self._tasks_ready
        if len(ready) == 1:
            return ready.pop()[1]
        ready.sort(key=lambda entry: entry[0])
        return ready.pop(self._random.randrange(len(ready)))[1]

    def _jump(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            raise Stuck(f"nothing will ever happen after {self._now:.3f} s")
        self._now = self._timers[0][0]
        while self._timers and self._timers[0][0] <= self._now:
            _, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self._callbacks.append(handle)


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _closed(generators: list[AsyncGenerator[Any, Any]]) -> None:
    for generator in generators:
        await generator.aclose()
