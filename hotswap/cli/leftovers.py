"""What an earlier platform left in a state directory, because it was killed: found, stopped, before a new one starts.

A platform that is killed does not take its services with it: they go on serving. The next one finds them by the ids
and start times that the killed one wrote down, and stops them in order. Instances are left to the new agents, which
adopt them; only what no agent took care of is swept away when the platform stops for good.
"""

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from hotswap.cli import running
from hotswap.cli.supervised import kill_group
from hotswap.errors import Refused, Unavailable

LOCK = "lock"
STOP_LIMIT = 20.0
"""Seconds from SIGTERM to SIGKILL."""
KILL_LIMIT = 10.0
"""Seconds from SIGKILL to the end: what the kernel still does for a process is short, unless its disk hangs."""
INSTANCE = "HOTSWAP_INSTANCE"
CODE_FOLDER = "LAMBDA_TASK_ROOT"
"""In the environment of every process that an agent started for a function."""
STOP_ORDER = ("router", "node", "controller", "etcd")
"""Beginnings of names: those that send work away first, those that the others need last."""


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """The directory is this process's alone; raises `Refused` while another has it. The lock ends with its process."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state_dir / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip()
            raise Refused(
                f"a platform is running in {state_dir} already" + (f" (process {owner})" if owner else ""),
                hint=f"stop it: kill {owner}   or take another directory: --state-dir DIR",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


async def stop_leftovers(state_dir: Path, tell: Callable[[str], None]) -> None:
    left = running.read(state_dir)
    if not left:
        return
    alive = {name: process for name, process in left.processes.items() if process.alive}
    for kind in STOP_ORDER:
        mine = {name: process for name, process in alive.items() if name.startswith(kind)}
        for name, process in mine.items():
            tell(f"{name} was left running by a platform that was killed; it is stopped (process {process.pid})")
        await asyncio.gather(*(_stop(process) for process in mine.values()))
    running.forget(state_dir)


async def _stop(process: running.Process) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGCONT)
    with suppress(TimeoutError):
        await asyncio.wait_for(_exit_of(process.pid), STOP_LIMIT)
    if process.alive:
        kill_group(process.pid)


async def _exit_of(pid: int) -> None:
    """Also of a process that is not our child; at once if there is none any more."""
    exited = asyncio.Event()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def sweep(state_dir: Path) -> list[str]:
    """Kills every instance of the directory's agents, and tells which: there are none unless an agent was killed.

    They are gone when it returns, and so are those that they started in the meantime.
    """
    swept = []
    nodes = (state_dir / "nodes").resolve()
    try:
        async with asyncio.timeout(KILL_LIMIT):
            while found := _instances(nodes):
                for process, command in found:
                    swept.append(f"{process.pid} {command}")
                    with suppress(psutil.Error):
                        process.kill()
                await asyncio.gather(*(_exit_of(process.pid) for process, _ in found))
    except TimeoutError:
        left = ", ".join(f"{process.pid} {command}" for process, command in found)
        raise Unavailable(f"not ended {KILL_LIMIT:.0f} s after SIGKILL: {left}") from None
    return swept


def _instances(nodes: Path) -> list[tuple[psutil.Process, str]]:
    """What works in a folder of an agent below `nodes`, each with its command line; the dead are not among them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            told = process.environ()
            if INSTANCE in told and Path(told.get(CODE_FOLDER, "/")).resolve().is_relative_to(nodes):
                found.append((process, " ".join(process.cmdline())))
    return found
