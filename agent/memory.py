"""The memory limit of instances, kept by looking: what a session uses over its limit is killed, and the cause told.

Looked at is the resident memory of all processes of a session, which counts shared pages more than once; only one that
seems to be over its limit is measured exactly, as the proportional share (PSS). cgroups would be exact at any moment,
but need rights that an agent does not always have.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress

from agent import output
from agent.instance import Instance
from agent.processes import PROC, End, sessions

EVERY = 0.5
"""Seconds between two looks."""
GUARD = f"watchdog on PSS every {EVERY:g} s, RLIMIT_DATA"
MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


async def watch(instances: Callable[[], Iterable[Instance]]) -> None:
    """Until it is cancelled: keeps the limits, and the output files from growing without end."""
    while True:
        present = {instance.process.pid: instance for instance in instances() if instance.process.running}
        members: defaultdict[int, list[int]] = defaultdict(list)
        for pid, session in sessions() if present else ():
            members[session].append(pid)
        for pid, instance in present.items():
            keep(instance, members[pid])
            output.cut(instance.log)
        await asyncio.sleep(EVERY)


def keep(instance: Instance, pids: list[int]) -> None:
    limit = instance.version.manifest.memory * MIB
    instance.memory = sum(map(_resident, pids))
    if instance.memory <= limit:
        return
    instance.memory = sum(map(share, pids))
    if instance.memory > limit:
        used, allowed = instance.memory // MIB, limit // MIB
        why = f"was killed for using {used} MiB of memory; {allowed} MiB are allowed"
        instance.process.kill(why, End.MEMORY)


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE
    return 0


def share(pid: int) -> int:
    """Bytes of memory, as the proportional share."""
    with suppress(OSError, IndexError, ValueError):
        text = (PROC / str(pid) / "smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split()[0]) * 1024
    return _resident(pid)
