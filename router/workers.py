"""The workers, as their parent sees them: started, told the table, replaced, and started again when they die.

A worker is a fresh process (never a fork of this one, which has gRPC's threads) with three things that outlive it: the
listening socket of its slot, so that a connection that waits to be accepted survives its death; its counter file; and
its end of a socketpair. When a worker is replaced the new one takes connections before the old one stops to, from the
same socket; each writes to a file of its own, and a file that is free goes on to the next one.

Workers are started while the table is still being read, since they take longer to start than to be told it; until then
they take no requests.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

from hotswap.processes import ended
from router.channel import (
    Applied,
    Apply,
    Beat,
    Begin,
    Channel,
    Drain,
    Granted,
    Nodes,
    Ready,
    ToParent,
    Want,
    encode,
    parent_end,
)
from router.counters import CounterFile
from router.nodes import NodeCounts
from router.rows import Owner, Rows
from router.table import Revisions, Table, Update

log = logging.getLogger(__name__)

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 5.0
"""Seconds before a worker that died is started again."""
STEADY = 10.0
"""Seconds a worker must have lived for the back-off to begin anew."""
SILENCE_LIMIT = 10.0
"""Seconds without a beat after which a worker is stuck and is killed."""
START_LIMIT = 30.0
"""Seconds for a worker to take requests."""
KILL_AFTER = 5.0
"""Seconds past the drain limit after which a worker that still is there is killed."""


@dataclass(eq=False, slots=True)
class Handle:
    slot: int
    process: "subprocess.Popen[bytes]"
    channel: Channel[ToParent]
    file: CounterFile
    began: float
    heard: float
    applied: Revisions = field(default_factory=Revisions)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False

    def __repr__(self) -> str:
        return f"worker {self.slot} (pid {self.process.pid})"


NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull}
"""aiohttp reads the machine's certificate authorities when it is imported, in 40 ms; a worker speaks no TLS."""
MIB = 1_048_576
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(4 * MIB), "MALLOC_TRIM_THRESHOLD_": str(16 * MIB)}
"""For glibc, which would give the memory of every large piece of a stream back to the kernel and ask for that of the
next one: of the time for 1 MiB four fifths went there."""


class Workers:
    """`run` is the owner of all tasks."""

    def __init__(self, *, listeners: list[socket.socket], begin: Begin, rows: Rows) -> None:
        self.restarts = 0
        self.nodes = NodeCounts()
        self.serving = False
        """There is a table to route by, and they are told it."""
        self._listeners = listeners
        self._begin = begin
        self._rows = rows
        self._table = Table()
        self._first = b""
        """What a new worker is told first, or nothing while nobody has asked for it."""
        self._live: set[Handle] = set()
        self._free_files: list[CounterFile] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = False
        self._told = asyncio.Event()
        self._replacing = asyncio.Lock()
        self._checked = 0.0

    @property
    def started(self) -> bool:
        return self._tasks is not None

    @property
    def table(self) -> Table:
        return self._table

    @property
    def up_to_date(self) -> bool:
        return all(handle.applied == self._table.revisions for handle in self._live)

    @property
    def ready(self) -> bool:
        """Every slot takes requests."""
        slots = {handle.slot for handle in self._live if handle.ready.is_set() and not handle.draining}
        return len(slots) == len(self._listeners)

    @property
    def applied(self) -> Revisions:
        """What every worker that takes requests has; those that drain still do, on their connections."""
        all_applied = [handle.applied for handle in self._live if handle.ready.is_set()]
        return Revisions(
            aliases=min((it.aliases for it in all_applied), default=0),
            endpoints=min((it.endpoints for it in all_applied), default=0),
            versions=min((it.versions for it in all_applied), default=0),
        )

    async def news(self) -> None:
        """Returns when a worker next becomes ready, ends, or has applied something."""
        await self._told.wait()

    def apply(self, table: Table, update: Update) -> None:
        """The table as it is now, and what has changed since the one before."""
        self._table, self._first = table, b""
        if not self.serving:
            return
        rows = self._rows.follow(table, update.functions)
        message = encode(Apply(update, rows)) if self._live else b""
        for handle in self._live:
            handle.channel.send_encoded(message)

    def serve(self) -> None:
        """The table is whole: from now on they route by it."""
        self.serving = True
        self._rows.follow(self._table, self._table.functions)
        for handle in self._live:
            handle.channel.send_encoded(self._whole())

    async def run(self) -> None:
        """Until `drain` is done."""
        async with asyncio.TaskGroup() as self._tasks:
            for slot in range(len(self._listeners)):
                self._tasks.create_task(self._keep(slot, backoff=0.0), name=f"worker {slot}")

    async def replace(self) -> None:
        """Every worker by a new one, one after the other, with no request lost; those that are not told a table yet
        have taken none, and are new."""
        if not self.serving:
            return
        async with self._replacing:
            await self._replace()

    async def _replace(self) -> None:
        for old in sorted(self._live, key=lambda handle: handle.slot):
            if old.draining or self._stopping or self._tasks is None:
                continue
            try:
                new = await self._start(old.slot)
            except OSError as error:
                log.warning("no worker can be started: %s; %r stays", error, old)
                return
            self._tasks.create_task(self._attend(new), name=repr(new))
            try:
                async with asyncio.timeout(START_LIMIT):
                    await new.ready.wait()
            except TimeoutError:
                log.warning("%r took no requests within %g s; %r stays", new, START_LIMIT, old)
                new.draining = old in self._live
                _kill(new.process)
                return
            self._drain(old)

    def drain(self) -> None:
        """All of them; `run` returns when they are gone."""
        self._stopping = True
        for handle in self._live:
            self._drain(handle)

    def check_beats(self) -> None:
        """To be called about every second; if it was not, it is we who were stuck, and nobody is blamed."""
        now = time.monotonic()
        late, self._checked = now - self._checked > SILENCE_LIMIT / 2, now
        for handle in self._live:
            if late:
                handle.heard = now
            elif now - handle.heard > SILENCE_LIMIT:
                log.error("%r has been silent for %g s and is killed", handle, SILENCE_LIMIT)
                handle.heard = now
                handle.process.kill()

    def _drain(self, handle: Handle) -> None:
        handle.draining = True
        handle.channel.send(Drain())
        asyncio.get_running_loop().call_later(self._begin.drain_seconds + KILL_AFTER, _kill, handle.process)

    async def _keep(self, slot: int, *, backoff: float) -> None:
        """A worker in this slot, again and again, until it is drained."""
        await asyncio.sleep(backoff)
        while not self._stopping:
            try:
                handle = await self._start(slot)
            except OSError as error:
                backoff = min(max(backoff * 2, FIRST_BACKOFF), LONGEST_BACKOFF)
                log.warning("no worker can be started: %s; trying again in %g s", error, backoff)
                await asyncio.sleep(backoff)
            else:
                await self._attend(handle, backoff=backoff)
                return

    async def _start(self, slot: int) -> Handle:
        """Raises `OSError` when the machine does not let it."""
        file = self._free_files.pop() if self._free_files else self._new_file()
        ours, theirs = socket.socketpair()
        try:
            process = _spawn(self._listeners[slot].fileno(), theirs.fileno(), file.fd)
        except OSError:
            ours.close()
            self._free_files.append(file)
            raise
        finally:
            theirs.close()
        now = time.monotonic()
        handle = Handle(slot, process, await parent_end(ours), file, began=now, heard=now)
        handle.channel.send(self._begin)
        if self.serving:
            handle.channel.send_encoded(self._whole())
        self._live.add(handle)
        if self._stopping:  # since we began
            self._drain(handle)
        return handle

    def _whole(self) -> bytes:
        """The table and its rows for a new worker; kept until they change or all workers have begun."""
        self._first = self._first or encode(Apply(self._table.whole(), self._rows.granted()))
        return self._first

    def _new_file(self) -> CounterFile:
        file = CounterFile.create(f"counters-{len(self._rows.files)}")
        self._rows.add(file)
        return file

    async def _attend(self, handle: Handle, *, backoff: float = 0.0) -> None:
        """Hears a worker until it is gone, and has it followed by another one if that was not asked for."""
        while (message := await handle.channel.receive()) is not None:
            self._hear(handle, message)
        if not handle.draining:
            _kill(handle.process)
        code = await ended(handle.process)
        await handle.channel.close()
        self._live.discard(handle)
        handle.file.forget_in_flight(self._rows.used)
        self._free_files.append(handle.file)
        self._tell()
        followed = any(other.slot == handle.slot and not other.draining for other in self._live)
        if not (handle.draining or self._stopping or followed) and self._tasks is not None:
            self.restarts += 1
            log.warning("%r ended with %s; another one is started", handle, code)
            steady = time.monotonic() - handle.began > STEADY
            following = FIRST_BACKOFF if steady or not backoff else min(backoff * 2, LONGEST_BACKOFF)
            self._tasks.create_task(self._keep(handle.slot, backoff=following), name=f"worker {handle.slot}")

    def _hear(self, handle: Handle, message: ToParent) -> None:
        handle.heard = time.monotonic()
        match message:
            case Beat():
                return
            case Want(function=function, version=version):
                row, self._first = self._rows.grant(Owner(function, "", version, 0)), b""
                handle.channel.send(Granted([row]))
            case Nodes():
                self.nodes.tell(f"{handle.process.pid} since {handle.began}", message)
            case Applied(revisions=revisions):
                handle.applied = revisions
                self._tell()
            case Ready():
                handle.ready.set()
                if self.ready:
                    self._first = b""
                self._tell()

    def _tell(self) -> None:
        self._told.set()
        self._told = asyncio.Event()


def _spawn(listener: int, channel: int, counters: int) -> "subprocess.Popen[bytes]":
    fds = (listener, channel, counters)
    level = logging.getLevelName(log.getEffectiveLevel())
    words = [sys.executable, "-m", "router.worker", *map(str, fds), level]
    environment = {**ALLOCATION, **os.environ, **NO_AUTHORITIES}
    return subprocess.Popen(words, pass_fds=fds, stdin=subprocess.DEVNULL, env=environment)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is None:
        process.kill()
