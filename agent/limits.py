"""What an instance may use, and who sees to it: the kernel by control groups where the agent has them, else this watch,
which looks twice a second and kills what is over its limit.

Where there is no group, memory is the resident memory of all processes of a session, which counts shared pages more
than once; only one that seems to be over its limit is measured exactly, as the proportional share (PSS). The folders of
an instance are looked at in either case: no quota is to be had without a file system of its own.
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from agent import output
from agent.cause import Cause
from agent.cgroups import Allowed, Control, Groups
from agent.incidents import Incidents
from agent.instance import Instance
from agent.memory import resident, share
from agent.processes import PROC, sessions
from agent.runtime.limits import Limits
from hotswap.model import Manifest

EVERY = 0.5
"""Seconds between two looks."""
SPARSENESS = 20
"""Of the time, at most one part in so many is spent on looking at the files of an instance."""
MIB = 1 << 20
WATCHDOG = f"watched every {EVERY:g} s"


def allowed(manifest: Manifest) -> Allowed:
    return Allowed(manifest.memory, manifest.processes + manifest.concurrency, manifest.cpu)


def limits(manifest: Manifest, groups: list[str]) -> Limits:
    """What the process is told to set on itself."""
    return Limits(manifest.memory, manifest.files + manifest.concurrency, manifest.disk, groups)


def guards(groups: Groups) -> dict[str, str]:
    """By what is limited: what keeps the limit on this node."""
    return {
        "memory": groups.guard(Control.MEMORY) or f"PSS {WATCHDOG}, RLIMIT_DATA",
        "processes": groups.guard(Control.PIDS) or WATCHDOG,
        "cpu": groups.guard(Control.CPU) or "not limited",
        "disk": f"{WATCHDOG}, RLIMIT_FSIZE",
        "files": "RLIMIT_NOFILE",
    }


OVERDUE = 5.0
"""Seconds after its version's time limit for an instance to end what it was asked. What can be cancelled in there has
been by then."""


@dataclass(frozen=True, slots=True)
class Breach:
    cause: Cause
    text: str
    deadly: bool = True
    """Else the kernel has refused what was too much, and the instance goes on."""


class Watch:
    def __init__(self, groups: Groups, incidents: Incidents) -> None:
        self._groups = groups
        self._incidents = incidents
        self._told: defaultdict[str, set[Cause]] = defaultdict(set)
        """What was told of an instance that goes on, so that it is told once."""
        self._next_walk: dict[str, float] = {}
        self._late: set[str] = set()
        """Those that were overdue at the last look."""
        self._printed: dict[str, int] = {}
        """Bytes that an instance had printed, when it was last looked at."""

    async def run(self, instances: Callable[[], Iterable[Instance]]) -> None:
        """Until it is cancelled: keeps the limits, and the output files from growing without end."""
        while True:
            present = [instance for instance in instances() if instance.process.running]
            late = self._overdue(present)
            found = await asyncio.to_thread(self._look, present) if present else []
            for instance, breach in late + found:
                self._act(instance, breach)
            self._forget({instance.id for instance in present})
            await asyncio.sleep(EVERY)

    def _act(self, instance: Instance, breach: Breach) -> None:
        if breach.deadly:
            instance.process.kill(f"was killed for {breach.text}", because=breach.cause)
        elif breach.cause not in self._told[instance.id]:
            self._told[instance.id].add(breach.cause)
            if breach.cause is Cause.TIMEOUT:
                instance.worn.set()
            self._incidents.add(instance.version, instance.id, breach.cause, breach.text, output=instance.log)

    def _look(self, present: list[Instance]) -> list[tuple[Instance, Breach]]:
        members = defaultdict[int, list[int]](list)
        for pid, session in sessions():
            members[session].append(pid)
        found = []
        for instance in present:
            output.cut(instance.log)
            self._printed[instance.id] = output.mark(instance.log, self._printed.get(instance.id, 0), at=time.time())
            pids = members[instance.process.pid]
            instance.memory = sum(map(resident, pids))
            found += [(instance, breach) for breach in self._breaches(instance, pids)]
        return found

    def _overdue(self, present: list[Instance]) -> list[tuple[Instance, Breach]]:
        """Those that are at two looks in a row: while a machine stands still nobody can run."""
        late = {instance: text for instance in present if (text := overdue(instance))}
        before, self._late = self._late, {instance.id for instance in late}
        return [
            (instance, Breach(Cause.TIMEOUT, text, deadly=False))
            for instance, text in late.items()
            if instance.id in before
        ]

    def _breaches(self, instance: Instance, pids: list[int]) -> Iterator[Breach]:
        manifest = instance.version.manifest
        yield from self._memory(instance, pids)
        yield from self._processes(instance, pids)
        opened = max(map(_open_files, pids), default=0)
        if opened >= manifest.files:
            text = f"has {opened} files and sockets open; {manifest.files + manifest.concurrency} are allowed"
            yield Breach(Cause.FILES, text, deadly=False)
        used = self._disk(instance)
        if used > manifest.disk * MIB:
            text = f"using {used // MIB} MiB of disk in its own folders; {manifest.disk} MiB are allowed"
            yield Breach(Cause.DISK, text)

    def _memory(self, instance: Instance, pids: list[int]) -> Iterator[Breach]:
        limit = instance.version.manifest.memory
        if self._groups.keeps(Control.MEMORY, instance.group):
            if why := out_of_memory(self._groups, instance.group, limit):
                yield Breach(Cause.MEMORY, why)
        elif instance.memory > limit * MIB:
            instance.memory = sum(map(share, pids))
            if instance.memory > limit * MIB:
                yield Breach(Cause.MEMORY, f"using {instance.memory // MIB} MiB of memory; {limit} MiB are allowed")

    def _processes(self, instance: Instance, pids: list[int]) -> Iterator[Breach]:
        tasks = allowed(instance.version.manifest).tasks
        if self._groups.keeps(Control.PIDS, instance.group):
            if self._groups.refused_processes(instance.group):
                text = f"has {tasks} processes and threads, and can start no more"
                yield Breach(Cause.PROCESSES, text, deadly=False)
        elif (running := sum(map(_threads, pids))) > tasks:
            yield Breach(Cause.PROCESSES, f"running {running} processes and threads; {tasks} are allowed")

    def _disk(self, instance: Instance) -> int:
        """Bytes in its folders; 0 when it is too early to look again."""
        began = time.monotonic()
        if began < self._next_walk.get(instance.id, 0):
            return 0
        used = _size(str(instance.room.folder))
        ended = time.monotonic()
        self._next_walk[instance.id] = ended + (ended - began) * SPARSENESS
        return used

    def _forget(self, present: set[str]) -> None:
        for told in (self._told, self._next_walk, self._printed):
            for gone in told.keys() - present:
                del told[gone]


def out_of_memory(groups: Groups, name: str, limit: int) -> str:
    """Empty unless the kernel has killed a process in these groups; `limit` in MiB."""
    if not groups.killed_for_memory(name):
        return ""
    if groups.out_of_its_memory(name):
        return f"using more than {limit} MiB of memory; {limit} MiB are allowed"
    return f"memory, of which its node had no more; of its own limit of {limit} MiB some was left"


def overdue(instance: Instance) -> str:
    """What it does beyond its time limit; empty for nothing. It may be that nothing in its process can run, so only the
    agent can tell."""
    reading = instance.load.read() if instance.load else None
    limit = instance.version.manifest.timeout.total_seconds() + OVERDUE
    if reading is None:
        return ""
    if reading.held > limit:
        return "holds its event loop beyond its time limit, and is replaced"
    return "does not end what it was asked within its time limit, and is replaced" if reading.owed > limit else ""


def _size(folder: str) -> int:
    """Bytes on the disk, of all files below."""
    total = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    total += _size(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _open_files(pid: int) -> int:
    with suppress(OSError):
        folder = PROC / str(pid) / "fd"
        return folder.stat().st_size or len(os.listdir(folder))  # kernels before 6.2 do not tell it as the size
    return 0


def _threads(pid: int) -> int:
    with suppress(OSError):
        return (PROC / str(pid) / "task").stat().st_nlink - 2
    return 0
