"""What instances leave behind. A process whose parent has ended becomes a child of the agent, which is the subreaper:
it is waited for when it ends, and ended when the instance that it came from is gone.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from agent import processes
from agent.cgroups import Groups
from agent.zygotes import Zygotes

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks."""


async def watch(*, lives: Callable[[str], bool], zygotes: Zygotes | None, groups: Groups) -> None:
    """Until it is cancelled. `lives` tells of an instance whether it runs or starts."""
    suspects: set[int] = set()
    while True:
        if not (zygotes and zygotes.busy):
            known = processes.waited_for.union(*(zygote.pids for zygote in zygotes or ()))
            found = {pid for pid in processes.children(os.getpid()) if pid not in known}
            for pid in found:
                _look(pid, lives, suspected=pid in suspects)
            suspects = found
        for name in groups.left():
            groups.remove(name)
        await asyncio.sleep(EVERY)


def _look(pid: int, lives: Callable[[str], bool], *, suspected: bool) -> None:
    with suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return
    instance = processes.instance_of(pid)
    if instance is None and _session_lives(pid):
        return
    if instance is not None and lives(instance):
        return
    if suspected or instance:
        log.warning("process %d was left behind by %s and is ended", pid, instance or "an instance that is gone")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # a child of ours, so its number cannot be another's


def _session_lives(pid: int) -> bool:
    with suppress(OSError):
        return os.getsid(pid) in processes.waited_for
    return False
