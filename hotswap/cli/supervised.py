"""One process of the platform that is kept running: started, started again with a growing pause when it ends, stopped.

Not here: what has to be running and in which order (`platform`), and the instances of functions, which are kept by
their agent.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from hotswap.errors import Unavailable

FIRST_PAUSE = 0.2
"""Seconds before what has ended is started again; doubles at each end that comes soon."""
LONGEST_PAUSE = 10.0
STEADY = 30.0
"""Seconds after which an end comes no more soon."""
LOG_TAIL = 12
"""Lines of a log that go into an error."""


class Program(Protocol):
    """What can be kept running; `hotswap.etcd.local.LocalEtcd` is one."""

    log_file: Path

    @property
    def pid(self) -> int: ...

    async def start(self) -> None:
        """Raises `Unavailable` when it cannot be started."""

    async def exited(self) -> int: ...

    async def stop(self) -> None:
        """Returns when it has ended and is reaped; does nothing where nothing runs."""


class Command:
    """A program of ours, in a session of its own, its output in a file."""

    def __init__(
        self,
        arguments: Callable[[], Sequence[str]],
        *,
        log_file: Path,
        stop_limit: float,
        environment: Mapping[str, str],
    ) -> None:
        """`arguments` is asked at each start, `stop_limit` is in seconds from SIGTERM to SIGKILL."""
        self.log_file = log_file
        self._arguments = arguments
        self._stop_limit = stop_limit
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    async def start(self) -> None:
        with self.log_file.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    async def exited(self) -> int:
        return await self._running().wait()

    async def stop(self) -> None:
        process = self._process
        if not process:
            return
        if process.returncode is None:
            process.terminate()
            process.send_signal(signal.SIGCONT)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._stop_limit)
        kill_group(process.pid)
        await process.wait()
        self._process = None

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process, "not running"
        return self._process


class Supervised:
    """Once started it is kept by a task of the owner's, which fails when the program ends before it was ever ready."""

    def __init__(
        self, name: str, program: Program, *, tell: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.name = name
        self.program = program
        self.ready = False
        """Set by the owner: from then on an end is no failure of the start, and is mended."""
        self._tell = tell
        self._changed = changed
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._alive = False
        self._log_begins = 0
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self.program.pid if self._alive else None

    async def start(self) -> None:
        self._log_begins = _size(self.program.log_file)
        await self.program.start()
        self._alive = True
        self._changed()

    def keep(self, tasks: asyncio.TaskGroup) -> None:
        self._keeper = tasks.create_task(self._keep(), name=self.name)

    def leave(self) -> None:
        """From now on an end is not mended."""
        if self._keeper:
            self._keeper.cancel()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            end = await self._ended()
            if not self.ready:
                raise Unavailable(f"{self.name} {end} before it was ready; {self.log_tail()}")
            pause = FIRST_PAUSE if clock() - began > STEADY else min(pause * 2, LONGEST_PAUSE)
            self._tell(f"{self.name} {end}; it is started again (its log: {self.program.log_file})")
            await asyncio.sleep(pause)
            await self._wanted.wait()
            began = clock()
            try:
                await self.start()
            except Unavailable as error:
                self._tell(f"{self.name} cannot be started again: {error.message}")

    async def stop(self) -> None:
        await self.program.stop()
        self._alive = False
        self._changed()

    def hold(self) -> None:
        """Once it has ended it stays down until `release`."""
        self._wanted.clear()

    def release(self) -> None:
        self._wanted.set()

    def log_tail(self) -> str:
        """What it wrote last, since it was started."""
        with self.program.log_file.open("rb") as file:
            file.seek(self._log_begins)
            lines = file.read().decode(errors="replace").splitlines()[-LOG_TAIL:]
        return "\n".join([f"the end of {self.program.log_file}:", *(f"  {line}" for line in lines)])

    async def _ended(self) -> str:
        if not self._alive:
            return "did not start"
        status = await self.program.exited()
        self._alive = False
        self._changed()
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def kill_group(pid: int) -> None:
    """SIGKILL to what is left of the session that a process began."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
