"""One place for an instance of a version: keeps it filled, by process after process, until it is retired.

A slot is one task, and reads from top to bottom: start, publish, wait for the end, withdraw, rest, start again. It does
not decide whether it should exist; `supervisor` does.

One that sleeps publishes a standby (`agent.standby`), and starts an instance there once somebody connects. To go to
sleep is a swap like any other: the standby is known to the routers before the instance is withdrawn, and that has
nothing in flight when it is stopped. Until then nobody is woken: one slot never has two processes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from agent import sockets
from agent.backoff import Streak
from agent.cause import Cause
from agent.crew import Crew
from agent.decide import View
from agent.instance import Instance, StartFailed
from agent.load import Reading
from agent.progress import Progress, State
from agent.races import cancelled, first, unless
from agent.refusal import refusing
from agent.standby import Standby
from agent.tools import Tools
from agent.waking import wake
from hotswap.errors import HotswapError, Invalid, NotFound
from hotswap.model import Endpoint

log = logging.getLogger(__name__)

KNOWN_LIMIT = 30.0
"""Seconds that routers may take to learn of an endpoint, or of its end; one that is dead loses its lease before."""
REFUSAL_LIMIT = 5.0
"""Seconds for the end of an endpoint to be written down and known, while those who come there are refused."""
HURRIED_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL when the agent itself was told to hurry."""

PUBLISHED = frozenset({State.READY, State.ASLEEP, State.WAKING})
"""The states in which invocations may come."""

T = TypeVar("T")


class Slot:
    def __init__(
        self,
        function: str,
        version: int,
        tools: Tools,
        crew: Crew,
        *,
        changed: Callable[["Slot"], None],
        adopted: Instance | None,
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
        self.wakes = 0
        self.up = adopted is not None
        """It has a process, or is about to start one."""
        self._tools = tools
        self._crew = crew
        self._changed = changed
        self._standby: Standby | None = None
        self._figures: dict[str, float] = {}
        self._known = False
        self._streak = Streak()
        self._retired = asyncio.Event()
        self._again = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tired = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Slot {self.function}:{self.version} {self.state} {self.last_instance}>"

    @property
    def view(self) -> View:
        ready = self.state in PUBLISHED
        known = ready and self._known
        return View(self, self.version, ready=ready, known=known, retiring=self.retiring, worn=self.worn)

    @property
    def progress(self) -> Progress:
        leaves = self.state in PUBLISHED and self.retiring
        state = State.DRAINING if leaves else self.state
        return Progress(self.function, self.version, self.last_instance, state, self.text, self.revision)

    @property
    def figures(self) -> dict[str, float]:
        """What the start of its instance took, or of the last one."""
        if self.instance is None:
            return self._figures
        reading = self.instance.load.read() if self.instance.load else None
        first = reading.first_ms if reading else None
        return self.instance.figures | ({} if first is None else {"first_ms": first})

    @property
    def retiring(self) -> bool:
        return self._retired.is_set()

    @property
    def worn(self) -> bool:
        return self.instance is not None and self.instance.worn.is_set()

    @property
    def asleep(self) -> bool:
        return self.state is State.ASLEEP and self.instance is None

    @property
    def address(self) -> str:
        place = self.instance or self._standby
        return place.address if place else ""

    def reading(self) -> Reading | None:
        """Of what is in flight, if its instance serves and goes on to."""
        instance = self.instance
        if instance is None or instance.load is None or self.state is not State.READY:
            return None
        return None if self.retiring or self._tired.is_set() or not self._known else instance.load.read()

    def retire(self) -> None:
        self._retired.set()

    def wake(self) -> None:
        self._wanted.set()

    def sleep(self) -> None:
        """Unless nothing can take its place."""
        if self.instance and self._standby is None:
            try:
                self._standby = self._tools.launcher.standby(self.instance.version)
            except StartFailed as error:
                log.warning("%r stays awake: %s", self, error)
            else:
                self._tired.set()

    def again(self) -> None:
        """Start now, if it rests after a failure."""
        if self.state in {State.BACKING_OFF, State.FAILED}:
            self._again.set()
            self._move(State.STARTING)

    async def run(self) -> None:
        """Until it is retired and empty. Cancelled, it leaves a ready instance running, for the next agent."""
        try:
            while self._standby or not self.retiring:
                if self.instance is None:
                    await self._fill()
                if self.instance:
                    await self._serve(self.instance)
                    self._let_go(self.instance)
                self._down()
                if not (self._standby or self.retiring):
                    await self._rest()
        finally:
            if self.instance:
                self.instance.process.abandon()
            self._forget_standby()
        self.state, self.text, self.revision = State.STOPPED, "", 0

    async def _fill(self) -> None:
        """Until there is an instance; or notes why there is none, unless it is retired."""
        try:
            if self._standby is None:
                await self._unless_retired(self._begin())
            if (standby := self._standby) and await self._called(standby):
                await self._unless_hurried(self._wake(standby))
        except StartFailed as error:
            self._tools.ledger.failed(self.function, self.version)
            self._fail(str(error), final=error.final, cause=error.cause)
        except (Invalid, NotFound) as error:
            self._fail(str(error), final=True)
        except HotswapError as error:
            self._fail(str(error))
        except Exception as error:  # whatever one version brings about must not end the node's other slots
            log.exception("%r cannot be started", self)
            self._fail(f"{type(error).__name__}: {error}")

    async def _begin(self) -> None:
        """With an instance, or with a standby."""
        tools = self._tools
        self._move(State.FETCHING)
        version = await tools.version(self.function, self.version)
        self._crew.meet(version.manifest)
        if await self._crew.may_sleep(self):
            self._standby = standby = tools.launcher.standby(version)
            await self._publish(standby.endpoint(tools.node), State.ASLEEP)
            return
        code, fetched = await tools.fetched(version)
        self._move(State.STARTING)
        instance = await tools.launcher.start(version, code, warming=lambda: self._move(State.WARMING))
        instance.figures["fetch_ms"] = fetched * 1e3
        self._has(instance)

    async def _wake(self, standby: Standby) -> None:
        """Who has connected waits for this, and is told if it fails."""
        self.up = True
        self.wakes += 1
        self._move(State.WAKING)
        try:
            instance = await wake(self._tools, standby, self._streak, failed=self._wakes_again)
        except Exception as error:
            await self._refuse(standby, error)
            raise
        finally:
            self._forget_standby()
        self._has(instance)
        self._tools.ledger.woken(instance)
        log.info("%s:%d was woken: %s", self.function, self.version, instance.parts)

    def _wakes_again(self, error: StartFailed) -> None:
        self._tools.ledger.failed(self.function, self.version)
        self.last_exit, self.last_cause = str(error), error.cause
        self._streak = self._streak.failed(served=0)
        self._move(State.WAKING, str(error))
        self._restarts()

    async def _refuse(self, standby: Standby, error: Exception) -> None:
        """Until routers send nobody there any more."""
        with suppress(TimeoutError):
            async with refusing(standby, error), asyncio.timeout(REFUSAL_LIMIT):
                await self._withdrawn(standby.endpoint(self._tools.node))

    def _has(self, instance: Instance) -> None:
        self.instance, self.last_instance = instance, instance.id
        self._tools.ledger.started(instance)

    def _let_go(self, instance: Instance) -> None:
        self._figures = self.figures
        self.instance = None
        self._tools.ledger.ended(instance)
        self._tired.clear()
        instance.close()

    def _forget_standby(self) -> None:
        if self._standby:
            self._standby.close()
        self._standby = None

    def _down(self) -> None:
        self.up = False
        self._crew.stir()

    async def _called(self, standby: Standby) -> bool:
        """Sleeps until somebody connects, or the crew calls. False: it is retired, and nobody had connected before the
        routers knew that."""
        self.last_instance = standby.instance
        self._wanted.clear()
        self._down()
        await self._unless_retired(first(standby.called(), self._wanted.wait()))
        if not self.retiring:
            return True
        await self._unless_hurried(self._withdrawn(standby.endpoint(self._tools.node)))
        if standby.waiting and not self._tools.hurry.is_set():
            return True
        self._forget_standby()
        return False

    async def _serve(self, instance: Instance) -> None:
        """Until the instance has ended, by itself or because the slot is retired, or put to sleep."""
        if self.retiring:
            await self._take_away(instance)
            return
        since = time.monotonic()
        endpoint = instance.endpoint(self._tools.node)
        published = asyncio.create_task(self._publish(endpoint, State.READY), name=f"publish {instance.id}")
        retired = asyncio.create_task(self._retired.wait(), name=f"retired {instance.id}")
        tired = asyncio.create_task(self._tired.wait(), name=f"tired {instance.id}")
        worn = asyncio.create_task(self._tell_worn(instance), name=f"worn {instance.id}")
        ends: list[asyncio.Future[Any]] = [instance.process.exited, retired, tired]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled(published, retired, tired, worn)
        if instance.process.running and self._retired.is_set():
            await self._take_away(instance)
        elif instance.process.running and self._standby:
            await self._lie_down(instance, self._standby)
        else:
            self._forget_standby()
            self._tools.announcer.withdraw(endpoint)
            ended = self._tools.launcher.fell(instance)
            self._fail(str(ended), served=time.monotonic() - since, cause=ended.kind)

    async def _publish(self, endpoint: Endpoint, state: State) -> None:
        revision = await self._tools.announcer.announce(endpoint)
        self._move(state, revision=revision)
        if state is State.READY:
            self._crew.prove()
        await self._until_known(revision)
        self._known = True
        self._move(state, "known to the routers", revision=revision)

    async def _lie_down(self, instance: Instance, standby: Standby) -> None:
        """The standby takes its place."""
        await self._unless_retired(self._publish(standby.endpoint(self._tools.node), State.ASLEEP))
        await self._stop(instance)
        self._streak = Streak()

    async def _tell_worn(self, instance: Instance) -> None:
        """So that another is started; when that serves, this slot is retired."""
        await instance.worn.wait()
        self._changed(self)

    async def _take_away(self, instance: Instance) -> None:
        self._move(State.DRAINING)
        await self._stop(instance)

    async def _stop(self, instance: Instance) -> None:
        """Withdraws, waits until nothing is in flight, and stops."""
        await self._unless_hurried(self._drain(instance))
        self._tools.announcer.withdraw(instance.endpoint(self._tools.node))
        grace = {"grace": HURRIED_GRACE} if self._tools.hurry.is_set() else {}
        if instance.worn.is_set():  # SIGTERM would wait for what does not end
            instance.process.kill(
                "was killed for not ending what it was asked within its time limit", because=Cause.TIMEOUT
            )
        await self._tools.launcher.stop(instance, **grace)

    async def _drain(self, instance: Instance) -> None:
        await self._withdrawn(instance.endpoint(self._tools.node))
        with suppress(TimeoutError):
            async with asyncio.timeout(instance.version.manifest.drain_timeout.total_seconds()):
                await sockets.drained(instance.port)

    async def _withdrawn(self, endpoint: Endpoint) -> None:
        """And known to be."""
        revision = await self._tools.announcer.withdraw(endpoint)
        if revision:
            if self.retiring:
                self._move(State.DRAINING, revision=revision)
            await self._until_known(revision)

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
            await cancelled(retired, again)
        self._again.clear()
        self._restarts()

    def _restarts(self) -> None:
        self.restarts += 1
        self._tools.ledger.restarted(self.function, self.version)

    def _fail(self, why: str, *, served: float = 0, final: bool = False, cause: Cause = Cause.START) -> None:
        self.last_exit, self.last_cause = why, cause
        self._streak = self._streak.failed(served=served)
        if self._streak.crash_loop:
            why = f"{why}\nthis was failure {self._streak.failures} in a row"
        log.warning("%s:%d %s", self.function, self.version, why)
        self._move(State.FAILED if final or self._streak.crash_loop else State.BACKING_OFF, why)

    def _move(self, state: State, text: str = "", *, revision: int = 0) -> None:
        self._known &= state in PUBLISHED
        self.state, self.text, self.revision = state, text, revision
        self._changed(self)

    async def _unless_retired(self, work: Coroutine[Any, Any, T]) -> T | None:
        return await unless(self._retired, work)

    async def _unless_hurried(self, work: Coroutine[Any, Any, T]) -> T | None:
        return await unless(self._tools.hurry, work)
