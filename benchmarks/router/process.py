"""Processes that the benchmark starts: on which core they run, what they have used, and that they end with it."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp
import psutil

from hotswap.processes import ended

READY_LIMIT = 20.0
"""Seconds for a server to answer."""
STOP_LIMIT = 5.0
"""Seconds from SIGTERM to SIGKILL."""
LOOK_EVERY = 0.02
MIB = 1 << 20
OUTPUT = "output"
SAID = 300
"""Characters of its output that go into an error."""


class Unusable(Exception):
    """A proxy that cannot take part, and why."""


@dataclass(frozen=True)
class Cores:
    """`None`: with one core nothing is pinned."""

    load: int | None
    proxy: int | None


@dataclass(frozen=True)
class Usage:
    """Of the processor since the start, in seconds, by all processes of a proxy together."""

    user: float
    system: float


class Tree:
    """A proxy's processes, as they are when it is ready."""

    def __init__(self, pid: int) -> None:
        first = psutil.Process(pid)
        self._serving = first.children(recursive=True) or [first]
        self._parents = [] if self._serving == [first] else [first]
        self._core: int | None = None

    def pin(self, core: int) -> None:
        self._core = core
        for process in self._parents + self._serving:
            for thread in process.threads():
                os.sched_setaffinity(thread.id, {core})

    def usage(self) -> Usage:
        times = [process.cpu_times() for process in self._parents + self._serving]
        return Usage(sum(it.user for it in times), sum(it.system for it in times))

    def core_seconds(self) -> float:
        """That its core has been busy, whoever had it; 0 while it has none of its own."""
        if self._core is None:
            return 0.0
        times = psutil.cpu_times(percpu=True)[self._core]  # the last two are within the first two
        return float(sum(times[:8]) - times.idle - times.iowait)

    def serving_mib(self) -> float:
        return float(sum(process.memory_info().rss for process in self._serving)) / MIB

    def parents_mib(self) -> float:
        """Of what supervises and serves nothing."""
        return float(sum(process.memory_info().rss for process in self._parents)) / MIB


def choose_cores() -> Cores:
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1]) if len(allowed) > 1 else Cores(None, None)


def raise_file_limit() -> int:
    """As far as this process may; returns how many files it and its children can have open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@asynccontextmanager
async def serving(
    command: Sequence[str], folder: Path, port: int, *, ready: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    """The id of a server on this port that answers 200 at the path `ready`; raises `Unusable` with the end of its
    output."""
    process = spawn(command, folder, env=env)
    try:
        await _answering(process, f"http://127.0.0.1:{port}{ready}", folder)
        yield process.pid
    finally:
        await stop(process)


def spawn(command: Sequence[str], folder: Path, *, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """In a session of its own: its group is killed with it, and Ctrl-C is for us to answer. `said` is its output."""
    with (folder / OUTPUT).open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )


async def _answering(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    try:
        async with asyncio.timeout(READY_LIMIT), aiohttp.ClientSession() as session:
            while process.poll() is None:
                if await _is_well(session, url):
                    return
                await asyncio.sleep(LOOK_EVERY)
            fault = f"ended with status {process.returncode}"
    except TimeoutError:
        fault = f"does not answer within {READY_LIMIT:g} s"
    raise Unusable(f"{fault}: {said(folder)[-SAID:]}")


async def _is_well(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == HTTPStatus.OK
    except aiohttp.ClientError:
        return False


def said(folder: Path) -> str:
    return (folder / OUTPUT).read_text(errors="replace").strip()


async def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, then SIGKILL for the whole group."""
    process.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_LIMIT):
            await ended(process)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
