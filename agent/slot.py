"""One place for an instance of a version: keeps it filled, by process after process, until it is retired.

A slot is one task, and reads from top to bottom: start, publish, wait for the end, withdraw, rest, start again. It does
not decide whether it should exist; `supervisor` does.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from agent import sockets
from agent.artifacts import Artifacts
from agent.backoff import Streak
from agent.cause import Cause
from agent.decide import View
from agent.incidents import Incidents
from agent.instance import Instance, StartFailed
from agent.launcher import Launcher
from agent.nodes import Announcer
from agent.progress import Progress, State
from hotswap.errors import HotswapError, Invalid, NotFound
from hotswap.model import Version

log = logging.getLogger(__name__)

KNOWN_LIMIT = 30.0
"""Seconds that routers may take to learn of an endpoint, or of its end; one that is dead loses its lease before."""
HURRIED_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL when the agent itself was told to hurry."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tools:
    """What slots work with; all of them share it."""

    node: str
    artifacts: Artifacts
    launcher: Launcher
    announcer: Announcer
    version: Callable[[str, int], Awaitable[Version]]
    """Raises `NotFound`, or `Unavailable` when the store is away."""
    known: Callable[[int], Awaitable[None]]
    """Returns when every router has the endpoints of this revision."""
    random: Random
    hurry: asyncio.Event
    """Set when the agent must end now."""
    incidents: Incidents


class Slot:
    def __init__(
        self, function: str, version: int, tools: Tools, *, changed: Callable[["Slot"], None], adopted: Instance | None
    ) -> None:
        self.function = function
        self.version = version
        self.state = State.STARTING
        self.text = ""
        self.revision = 0
        self.instance = adopted
        self.last_instance = adopted.id if adopted else ""
        self.restarts = 0
        self.last_exit = ""
        self.last_cause: Cause | None = None
        self._tools = tools
        self._changed = changed
        self._known = False
        self._streak = Streak()
        self._retired = asyncio.Event()
        self._again = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Slot {self.function}:{self.version} {self.state} {self.last_instance}>"

    @property
    def view(self) -> View:
        ready = self.state is State.READY
        worn = self.instance is not None and self.instance.worn.is_set()
        known = ready and self._known
        return View(self, self.version, ready=ready, known=known, retiring=self._retired.is_set(), worn=worn)

    @property
    def progress(self) -> Progress:
        leaves = self.state is State.READY and self._retired.is_set()
        state = State.DRAINING if leaves else self.state
        return Progress(self.function, self.version, self.last_instance, state, self.text, self.revision)

    def retire(self) -> None:
        self._retired.set()

    def again(self) -> None:
        """Start now, if it rests after a failure."""
        if self.state in {State.BACKING_OFF, State.FAILED}:
            self._again.set()
            self._move(State.STARTING)

    async def run(self) -> None:
        """Until it is retired and empty. Cancelled, it leaves a ready instance running, for the next agent."""
        try:
            while not self._retired.is_set():
                if self.instance is None:
                    await self._unless_retired(self._start())
                if self.instance:
                    await self._serve(self.instance)
                    self.instance = None
                if not self._retired.is_set():
                    await self._rest()
        finally:
            if self.instance:
                self.instance.process.abandon()
        self.state, self.text, self.revision = State.STOPPED, "", 0

    async def _start(self) -> None:
        """Fills the slot, or notes why that failed."""
        tools = self._tools
        try:
            self._move(State.FETCHING)
            version = await tools.version(self.function, self.version)
            began = time.monotonic()
            code = await tools.artifacts.folder(version.artifact, version.size)
            fetched = time.monotonic() - began
            self._move(State.STARTING)
            self.instance = await tools.launcher.start(version, code, warming=lambda: self._move(State.WARMING))
            self.instance.figures["fetch_ms"] = fetched * 1e3
            self.last_instance = self.instance.id
        except StartFailed as error:
            self._fail(str(error), served=0, final=error.final)
        except (Invalid, NotFound) as error:
            self._fail(str(error), served=0, final=True)
        except HotswapError as error:
            self._fail(str(error), served=0, final=False)
        except Exception as error:  # whatever one version brings about must not end the node's other slots
            log.exception("%r cannot be started", self)
            self._fail(f"{type(error).__name__}: {error}", served=0, final=False)

    async def _serve(self, instance: Instance) -> None:
        """Until the instance has ended, by itself or because the slot is retired."""
        since = time.monotonic()
        published = asyncio.create_task(self._publish(instance), name=f"publish {instance.id}")
        retired = asyncio.create_task(self._retired.wait(), name=f"retired {instance.id}")
        worn = asyncio.create_task(self._tell_worn(instance), name=f"worn {instance.id}")
        ends: list[asyncio.Future[Any]] = [instance.process.exited, retired]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(published, retired, worn)
        if instance.process.running:
            await self._take_away(instance)
        else:
            self._withdraw(instance)
            left = self._tools.launcher.forget(instance)
            ended = instance.process.exited.result()
            self._note(instance, ended.kind, str(ended))
            self._note_left(instance, left)
            self._fail(str(ended), served=time.monotonic() - since, final=False, cause=ended.kind)

    async def _publish(self, instance: Instance) -> None:
        revision = await self._tools.announcer.announce(instance.endpoint(self._tools.node))
        self._move(State.READY, revision=revision)
        await self._until_known(revision)
        self._known = True
        self._move(State.READY, "known to the routers", revision=revision)

    async def _tell_worn(self, instance: Instance) -> None:
        """So that another is started; when that serves, this slot is retired."""
        await instance.worn.wait()
        self._changed(self)

    async def _take_away(self, instance: Instance) -> None:
        """Withdraws, waits until nothing is in flight, and stops."""
        self._move(State.DRAINING)
        await self._unless_hurried(self._drain(instance))
        self._withdraw(instance)
        grace = {"grace": HURRIED_GRACE} if self._tools.hurry.is_set() else {}
        if instance.worn.is_set():  # a thread that does not stop would not let it end
            instance.process.kill("was stopped by the agent")
        left = await self._tools.launcher.stop(instance, **grace)
        if instance.process.because not in (None, Cause.STOPPED):
            self._note(instance, instance.process.because, instance.process.cause)
        self._note_left(instance, left)

    async def _drain(self, instance: Instance) -> None:
        revision = await self._withdraw(instance)
        if revision:
            self._move(State.DRAINING, revision=revision)
            await self._until_known(revision)
        with suppress(TimeoutError):
            async with asyncio.timeout(instance.version.manifest.drain_timeout.total_seconds()):
                await sockets.drained(instance.port)

    def _withdraw(self, instance: Instance) -> asyncio.Future[int]:
        return self._tools.announcer.withdraw(instance.endpoint(self._tools.node))

    async def _until_known(self, revision: int) -> None:
        try:
            async with asyncio.timeout(KNOWN_LIMIT):
                await self._tools.known(revision)
        except TimeoutError:
            log.warning("%r: a router does not tell that it has revision %d; going on", self, revision)

    async def _rest(self) -> None:
        retired = asyncio.create_task(self._retired.wait(), name="retired")
        again = asyncio.create_task(self._again.wait(), name="again")
        pause = self._streak.pause(self._tools.random)
        try:
            await asyncio.wait([retired, again], timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(retired, again)
        self._again.clear()
        self.restarts += 1

    def _note(self, instance: Instance, cause: Cause, text: str) -> None:
        self._tools.incidents.add(instance.version, instance.id, cause, text, output=instance.log)

    def _note_left(self, instance: Instance, left: int) -> None:
        if left:
            what = "1 process was" if left == 1 else f"{left} processes were"
            self._note(instance, Cause.LEFTOVERS, f"{what} left behind by {instance.id}, and ended")

    def _fail(self, why: str, *, served: float, final: bool, cause: Cause = Cause.START) -> None:
        self.last_exit, self.last_cause = why, cause
        self._streak = self._streak.failed(served=served)
        if self._streak.crash_loop:
            why = f"{why}\nthis was failure {self._streak.failures} in a row"
        log.warning("%s:%d %s", self.function, self.version, why)
        self._move(State.FAILED if final or self._streak.crash_loop else State.BACKING_OFF, why)

    def _move(self, state: State, text: str = "", *, revision: int = 0) -> None:
        self._known &= state is State.READY
        self.state, self.text, self.revision = state, text, revision
        self._changed(self)

    async def _unless_retired(self, work: Coroutine[Any, Any, T]) -> T | None:
        return await _unless(self._retired, work)

    async def _unless_hurried(self, work: Coroutine[Any, Any, T]) -> T | None:
        return await _unless(self._tools.hurry, work)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work returns, or `None` when the event came first and the work was cancelled."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancelled(working, waiting)
    return None if working.cancelled() else working.result()


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancels those that still run and waits for their ends; raises what one of them raised."""
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
