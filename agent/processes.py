"""The process of an instance: who it is beyond its pid, when it ends, and how it is ended.

A pid alone is not an identity: it is given again. What is kept of a process is its pid, the time it started at, and
the boot of the machine; what is signalled is a pidfd, which can never mean another process. A process group is only
signalled while its leader is not yet reaped, since the number is not free until then.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.cause import Cause

PROC = Path("/proc")
STOP_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
REAP_LIMIT = 10.0
"""Seconds after which a killed process that is still there (in an uninterruptible call) is given up."""
HUNG_EXIT_CODE = 4
"""Of a process whose threads are all held by work that does not end; see `runtime.due`."""
SIGNALLED = 128
"""Of a sandbox: plus the number of the signal that has killed the program inside."""
INSTANCE_VARIABLE = "HOTSWAP_INSTANCE"
"""In the environment of every process of an instance."""

waited_for: set[int] = set()
"""Pids of the children of this process that a `Process` waits for."""


@dataclass(frozen=True, slots=True)
class Identity:
    pid: int
    started: int
    """Clock ticks since the boot."""
    boot: str


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    code: int | None
    """As `Popen.returncode`: below 0 for a signal; `None` for a process that another agent started."""
    cause: str = ""
    """Why it was ended, by this agent or by the kernel's limits; empty when it was not."""
    because: Cause | None = None
    """The same in a word; `None` when it was not."""
    cpu: float = 0.0
    """Seconds of processor time, with those of processes that it has waited for; 0 where that is not known."""

    @property
    def kind(self) -> Cause:
        if self.because:
            return self.because
        if self.code is None:
            return Cause.UNKNOWN
        if self.code == HUNG_EXIT_CODE:
            return Cause.TIMEOUT
        return Cause.CODE if self.code >= 0 else Cause.SIGNAL

    def __str__(self) -> str:
        if self.cause:
            return self.cause
        if self.code is None:
            return "ended; how is not known, since an earlier agent had started it"
        if self.code >= 0:
            return f"exited with code {self.code}"
        text = f"was killed by {_signal_name(-self.code)}"
        return text + ", which the agent did not send; perhaps the machine ran out of memory" * (self.code == -9)


def boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int, *, ended: bool = False) -> Identity | None:
    """`None` when there is no such process, or (but for `ended`) when only its exit code is left."""
    try:
        # The name, in parentheses, may hold anything; the fields after it are numbers, the first of them the third.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" and not ended else Identity(pid, started, boot_id())


def session_members(session: int) -> list[int]:
    """Pids of the processes whose session has this leader."""
    return [pid for pid, found in sessions() if found == session]


def sessions() -> list[tuple[int, int]]:
    """(pid, pid of the leader of its session) of every process."""
    named = (int(name) for name in os.listdir(PROC) if name.isdigit())
    return [(pid, session) for pid in named if (session := session_of(pid)) is not None]


def session_of(pid: int) -> int | None:
    """The pid of its leader; `None` when there is no such process."""
    with suppress(OSError):
        return os.getsid(pid)
    return None


def of_instance(instance: str) -> list[Identity]:
    """Every process that has the instance in its environment: for those whose pid could not be written down in time."""
    found = (identify(pid) for pid, _ in sessions() if instance_of(pid) == instance)
    return [identity for identity in found if identity]


def children(pid: int) -> list[int]:
    """Of all threads of a process."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(PROC / str(pid) / "task"):
            with suppress(OSError):
                found += map(int, (PROC / str(pid) / "task" / thread / "children").read_text().split())
    return found


def instance_of(pid: int) -> str | None:
    """The instance that the process says it belongs to."""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    name = f"{INSTANCE_VARIABLE}=".encode()
    return next((one[len(name) :].decode(errors="replace") for one in environment if one.startswith(name)), None)


class Process:
    """A running process that leads its own session; `exited` is set, and all of its session ended, when it ends."""

    def __init__(
        self,
        identity: Identity,
        instance: str,
        *,
        child: bool = False,
        confined: bool = False,
        why: Callable[[], str] = str,
    ) -> None:
        """`child`: it is this process that has to wait for it. `confined`: it is a sandbox, with the program inside.
        `why` tells, when it has ended and this agent did not end it, whether that was for its memory: in words, empty
        if not. Raises `ProcessLookupError` when the process is gone, or another by now."""
        self.identity = identity
        self.cause = ""
        self.because: Cause | None = None
        self._why = why
        self._instance = instance
        self._child = child
        self._confined = confined
        self._pidfd = os.pidfd_open(identity.pid)
        if not child and identify(identity.pid) != identity:
            os.close(self._pidfd)
            raise ProcessLookupError(f"process {identity.pid} is another one by now")
        if child:
            waited_for.add(identity.pid)
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Exit] = loop.create_future()
        loop.add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def running(self) -> bool:
        return not self.exited.done()

    def terminate(self) -> None:
        if self._confined and (programs := self._inside()):
            for pid in programs:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        else:
            self._send(signal.SIGTERM)

    def kill(self, cause: str, *, because: Cause = Cause.STOPPED) -> None:
        """The first reason stands."""
        if not self.cause:
            self.cause, self.because = cause, because
        self._send(signal.SIGKILL)  # the rest of the group follows in `_on_exit`

    async def stop(self, *, grace: float = STOP_GRACE) -> Exit:
        """SIGTERM, then SIGKILL to all that is left; returns when it is reaped."""
        if not self.cause:
            self.cause, self.because = "was stopped by the agent", Cause.STOPPED
        self.terminate()
        await asyncio.wait([self.exited], timeout=grace)
        if self.running:
            if grace >= STOP_GRACE and self.because is Cause.STOPPED:
                self.cause = f"did not end within {grace:g} s of SIGTERM, and was killed"
                self.because = Cause.STUBBORN
            self._send(signal.SIGKILL)
        return await asyncio.wait_for(asyncio.shield(self.exited), REAP_LIMIT)

    def abandon(self) -> None:
        """Stops watching it; it goes on."""
        if self.running:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self.exited.cancel()

    def _inside(self) -> list[int]:
        """The program in the sandbox: bwrap has a child in there, which has the program as its own. Both are bwrap's
        until that has ended, so their numbers can be nobody else's."""
        return [program for first in children(self.pid) for program in children(first)]

    def _send(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._end_session()
        waited_for.discard(self.pid)
        code, cpu = self._reaped() if self._child else (None, 0.0)
        if self._confined and code is not None and code > SIGNALLED:
            code = SIGNALLED - code
        os.close(self._pidfd)
        if not self.cause and (memory := self._why()):
            self.cause, self.because = f"was killed for {memory}", Cause.MEMORY
        self.exited.set_result(Exit(code, self.cause, self.because, cpu))

    def _reaped(self) -> tuple[int, float]:
        _, status, usage = os.wait4(self.pid, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime

    def _end_session(self) -> None:
        """What the leader left behind. Before the leader is reaped its number can mean nothing else."""
        if self._child:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        for pid in session_members(self.pid):
            if pid != self.pid and instance_of(pid) == self._instance:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
