"""A process that was forked from a zygote and waits to be told what instance it is, in a control group of its own.

So both can be had before anybody needs them: a fork takes milliseconds, and joining a group as many again, since the
kernel first waits for what runs on all processors.
"""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.cgroups import Groups
from agent.instance import StartFailed
from agent.runtime import birth

READY_LIMIT = 10.0
END_LIMIT = 5.0
"""Seconds for a process that was killed to be gone."""


@dataclass(eq=False, slots=True)
class Spare:
    pid: int
    """Of a child of ours."""
    group: str
    """The name of its control groups."""
    preloaded: list[str]
    packages: Path | None
    """Where that came from; `None` for the platform."""
    channel: socket.socket
    ready: bool = False
    """It waits; a new one has to join its group first."""

    @property
    def lives(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    async def waits(self) -> None:
        """Returns when it is ready. Raises `StartFailed`."""
        try:
            async with asyncio.timeout(READY_LIMIT):
                self.ready = await asyncio.get_running_loop().sock_recv(self.channel, 1) != b""
        except (OSError, TimeoutError) as error:
            raise StartFailed(f"no process is ready ahead of what starts: {error or 'no answer'}") from error
        if not self.ready:
            raise StartFailed("no process is ready ahead of what starts: the one that was to be has ended")

    def become(self, what: birth.Birth, descriptors: Sequence[int]) -> None:
        """It is an instance's process from now on. Descriptors stay the caller's. Raises `StartFailed`."""
        told = os.memfd_create("birth")
        try:
            os.write(told, birth.encode(what))
            os.lseek(told, 0, os.SEEK_SET)
            socket.send_fds(self.channel, [b"b"], [told, *descriptors])
        except OSError as error:
            raise StartFailed(f"the process that was to be it has ended: {error}") from error
        finally:
            os.close(told)
            self.channel.close()

    async def end(self, groups: Groups) -> None:
        self.channel.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError, TimeoutError):  # who looks for orphans may have been first
            await asyncio.wait_for(asyncio.to_thread(os.waitpid, self.pid, 0), END_LIMIT)
        groups.remove(self.group)


def name() -> str:
    """Of a group that is nobody's yet."""
    return f"spare-{secrets.token_hex(4)}"
