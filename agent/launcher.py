"""Brings instances up until they are ready, finds those of an earlier agent again, and ends them."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp

from agent import processes, sockets
from agent.cause import Cause
from agent.incidents import Incidents
from agent.instance import Instance, StartFailed
from agent.processes import Exit
from agent.readiness import until_ready, warm
from agent.records import Fate, Record, Records, fate
from agent.spawn import Spawner
from agent.standby import Standby
from hotswap.model import Kind, Version

log = logging.getLogger(__name__)

PORT_ATTEMPTS = 3
"""Ports that are tried for a program that fails to bind."""
PORT_TAKEN = ("address already in use", "eaddrinuse")
ADOPT_LIMIT = 2.0
"""Seconds for an instance of an earlier agent to take a connection."""
ORDERLY = {Cause.STOPPED, Cause.START, Cause.TIMEOUT}
"""Why the agent ends instances without saying so: as it was to, or after it was told already."""


class Launcher:
    def __init__(
        self, spawner: Spawner, session: aiohttp.ClientSession, records: Records, incidents: Incidents
    ) -> None:
        self._spawner = spawner
        self._session = session
        self._records = records
        self._incidents = incidents
        self.starting: set[Instance] = set()
        """Those that are not ready yet."""

    def standby(self, version: Version) -> Standby:
        """Raises `StartFailed`."""
        return self._spawner.standby(version)

    async def wake(self, standby: Standby, code: Path) -> Instance:
        """Returns when it is ready. It is warmed by who waits, not before: the version has proven itself. Raises
        `StartFailed`."""
        return await self._start(standby.version, code, standby, None)

    async def start(self, version: Version, code: Path, *, warming: Callable[[], None]) -> Instance:
        """Returns when it is ready and warm; raises `StartFailed`. `warming` is called when the warm request begins."""
        attempts = PORT_ATTEMPTS if version.manifest.kind is Kind.HTTP else 1
        while True:
            attempts -= 1
            try:
                return await self._start(version, code, None, warming)
            except StartFailed as error:
                if not attempts or not any(text in str(error).lower() for text in PORT_TAKEN):
                    raise

    async def stop(self, instance: Instance, *, grace: float = processes.STOP_GRACE) -> None:
        try:
            ended = await instance.process.stop(grace=grace)
        except TimeoutError:
            # Its record stays, so that the next agent tries again.
            log.warning("process %d of %s does not end, though it was killed", instance.process.pid, instance.id)
            return
        if ended.because and ended.because not in ORDERLY:
            self._note(instance, ended.because, ended.cause)
        self._forget(instance)

    def fell(self, instance: Instance) -> Exit:
        """After it ended by itself."""
        ended = instance.process.exited.result()
        self._note(instance, ended.kind, str(ended))
        self._forget(instance)
        return ended

    async def adopt_all(self) -> list[Instance]:
        """The ready instances of an earlier agent that still answer; all else that it left is ended and removed."""
        found = await asyncio.gather(*(self._adopt(record) for record in self._records.all()))
        return [instance for instance in found if instance]

    async def _start(
        self, version: Version, code: Path, standby: Standby | None, warming: Callable[[], None] | None
    ) -> Instance:
        asked = time.monotonic()
        spawned = await self._spawner.spawn(version, code, standby)
        instance = spawned.instance
        began = time.monotonic()
        self.starting.add(instance)
        try:
            await until_ready(instance, spawned.ready)
            ready = time.monotonic()
            instance.figures |= {"spawn_ms": (began - asked) * 1e3, "ready_ms": (ready - began) * 1e3}
            if warming:
                warming()
                await warm(instance, self._session)
                instance.figures["warm_ms"] = (time.monotonic() - ready) * 1e3
            self._records.write(instance.record(ready=True))
        except BaseException:
            self.starting.discard(instance)
            await asyncio.shield(self._destroy(instance))
            raise
        self.starting.discard(instance)
        return instance

    async def _adopt(self, record: Record) -> Instance | None:
        present = processes.identify(record.process.pid) if record.process else None
        match fate(record, boot=processes.boot_id(), present=present):
            case Fate.ADOPT:
                instance = self._spawner.known(record)
                if instance and await self._answers(instance):
                    return instance
                if instance:
                    await self._destroy(instance)
            case Fate.STOP:
                if instance := self._spawner.known(record):
                    await self._destroy(instance)
            case Fate.FIND:
                _end_unrecorded(record.instance)
            case Fate.FORGET:
                pass
        self._spawner.forget(record.instance, group=record.group)
        return None

    async def _answers(self, instance: Instance) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(ADOPT_LIMIT):
                return await sockets.answers(instance.host, instance.port)
        return False

    async def _destroy(self, instance: Instance) -> None:
        instance.process.kill("was ended, since it did not become ready", because=Cause.START)
        await self.stop(instance, grace=0)
        instance.close()

    def _forget(self, instance: Instance) -> None:
        """What it has left behind ends, too."""
        left = self._spawner.forget(instance.id, group=instance.group, session=instance.process.pid)
        if left:
            what = "1 process was" if left == 1 else f"{left} processes were"
            self._note(instance, Cause.LEFTOVERS, f"{what} left behind by {instance.id}, and ended")

    def _note(self, instance: Instance, cause: Cause, text: str) -> None:
        self._incidents.add(instance.version, instance.id, cause, text, output=instance.log)


def _end_unrecorded(instance: str) -> None:
    for identity in processes.of_instance(instance):
        with suppress(ProcessLookupError):
            os.kill(identity.pid, signal.SIGKILL)
