"""The kernel's limits of instances: a control group for each, in whatever hierarchies are there and may be written to.

Version 2 has one hierarchy for all controllers, version 1 one for each; a machine may have both. Groups are made below
the agent's own, so that what limits the agent limits its instances as well. In version 2 a group that has processes
cannot give controllers to those below it: an agent that has its group to itself moves into a leaf of it, `agent`, and
systemd puts it there by `Delegate=yes` with `DelegateSubgroup=agent`. A group that is shared is left as it is.

An instance joins its groups itself (`runtime.limits`), before it runs what is not ours.
"""

import errno
import hashlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

log = logging.getLogger(__name__)

LEAF = "agent"
PERIOD = 100_000
"""Microseconds, over which the processor time is given out."""
FORGOTTEN = 600.0
"""Seconds after which a group that is empty is nobody's: an instance joins its own as soon as that is made."""
MIB = 1 << 20


class Control(StrEnum):
    """Controllers, by the kernel's names for them."""

    MEMORY = "memory"
    PIDS = "pids"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    version: int
    folder: Path
    """In which groups are made."""
    controls: frozenset[Control]


@dataclass(frozen=True, slots=True)
class Allowed:
    memory: int
    """MiB."""
    tasks: int
    """Processes, with their threads."""
    cpu: float | None
    """Cores; `None` for as many as are free, shared evenly with other instances."""


def detect(proc: Path = Path("/proc/self")) -> list[Hierarchy]:
    """Those with a controller that we can use, each controller in one of them; empty where there is none."""
    try:
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
        entries = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    except OSError:
        return []
    found: list[Hierarchy] = []
    for mount in mounts:
        kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
        names = {Control(name) for name in options if name in list(Control)}
        if kind == "cgroup2":
            path = next((path for number, _, path in entries if number == "0"), "/")
            hierarchy = _second(_own(mount, path))
        elif kind == "cgroup" and names:
            path = next((path for _, held, path in entries if names & set(held.split(","))), "/")
            hierarchy = Hierarchy(1, _own(mount, path), frozenset(names))
        else:
            continue
        if hierarchy.controls and os.access(hierarchy.folder, os.W_OK):
            found.append(hierarchy)
    return found


def _own(mount: list[str], path: str) -> Path:
    """Where this process is in a hierarchy that is mounted there; what is mounted may be a part of it."""
    root, point = mount[3], Path(mount[4])
    below = path.removeprefix(root) if root != "/" else path
    place = point / below.lstrip("/")
    return place if place.is_dir() else point


def _second(own: Path) -> Hierarchy:
    folder = own.parent if own.name == LEAF else own
    try:
        present = [Control(it) for it in (folder / "cgroup.controllers").read_text().split() if it in list(Control)]
    except OSError:
        present = []
    return Hierarchy(2, folder, frozenset(it for it in present if _enabled(folder, it)))


def _enabled(folder: Path, control: Control) -> bool:
    """Whether the groups below have the controller; it is switched on for them if it can be."""
    for last in (False, True):
        try:
            (folder / "cgroup.subtree_control").write_text(f"+{control}")
        except OSError as error:
            if last or error.errno != errno.EBUSY or not _moved(folder):
                return False
        else:
            return True
    return False


def _moved(folder: Path) -> bool:
    """Into the leaf, if nobody else is in the group."""
    try:
        if (folder / "cgroup.procs").read_text().split() != [str(os.getpid())]:
            return False
        (folder / LEAF).mkdir(exist_ok=True)
        (folder / LEAF / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        return False
    return True


class Groups:
    """Of the instances of one agent."""

    def __init__(self, hierarchies: list[Hierarchy], state_dir: Path) -> None:
        """Agents on one machine may have the same name; their state directories tell them apart."""
        self._mark = f"hotswap-{hashlib.sha256(str(state_dir).encode()).hexdigest()[:8]}-"
        self._hierarchies = [it for it in hierarchies if self._tried(it)]
        for hierarchy in self._hierarchies:
            _sweep(hierarchy)

    def guard(self, control: Control) -> str:
        """What keeps a limit, in words; empty when it is not the kernel."""
        hierarchy = self._of(control)
        return f"cgroup v{hierarchy.version}" if hierarchy else ""

    def make(self, instance: str, allowed: Allowed) -> list[str]:
        """The files into which a process writes its number to join; raises `OSError`."""
        for hierarchy in self._hierarchies:
            group = self._group(hierarchy, instance)
            group.mkdir(exist_ok=True)
            _limit(group, hierarchy, allowed)
        return [str(self._group(hierarchy, instance) / "cgroup.procs") for hierarchy in self._hierarchies]

    def killed_for_memory(self, instance: str) -> int:
        """How many of its processes the kernel has killed."""
        hierarchy = self._of(Control.MEMORY)
        if hierarchy is None:
            return 0
        file = "memory.events" if hierarchy.version == 2 else "memory.oom_control"
        return _field(self._group(hierarchy, instance) / file, "oom_kill")

    def refused_processes(self, instance: str) -> int:
        """How many times it could not fork."""
        hierarchy = self._of(Control.PIDS)
        return _field(self._group(hierarchy, instance) / "pids.events", "max") if hierarchy else 0

    def instances(self) -> set[str]:
        """Those that have groups."""
        found = (path.name for hierarchy in self._hierarchies for path in hierarchy.folder.glob(f"{self._mark}*"))
        return {name.removeprefix(self._mark) for name in found}

    def remove(self, instance: str) -> set[int]:
        """Ends what is left of the instance, whatever session it made itself, and removes the groups; a group whose
        processes take a moment to go stays for the next time. The processes that were found."""
        left: set[int] = set()
        for hierarchy in self._hierarchies:
            group = self._group(hierarchy, instance)
            left.update(_members(group))
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(OSError):
                group.rmdir()
        return left

    def _of(self, control: Control) -> Hierarchy | None:
        return next((it for it in self._hierarchies if control in it.controls), None)

    def _group(self, hierarchy: Hierarchy, instance: str) -> Path:
        return hierarchy.folder / (self._mark + instance)

    def _tried(self, hierarchy: Hierarchy) -> bool:
        """A group is made and limited, since nothing else tells whether that is allowed."""
        group = self._group(hierarchy, "trial")
        try:
            group.mkdir(exist_ok=True)
            _limit(group, hierarchy, Allowed(memory=64, tasks=64, cpu=1.0))
            group.rmdir()
        except OSError as error:
            log.info("control groups in %s cannot be used: %s", hierarchy.folder, error)
            return False
        return True


def _sweep(hierarchy: Hierarchy) -> None:
    """Removes what agents have left that never came back; only an empty group can be removed."""
    for group in hierarchy.folder.glob("hotswap-*"):
        with suppress(OSError):
            if time.time() - group.stat().st_mtime > FORGOTTEN:
                group.rmdir()


def _limit(group: Path, hierarchy: Hierarchy, allowed: Allowed) -> None:
    for name, value in _settings(hierarchy, allowed):
        (group / name).write_text(value)
    for name, value in _swap(hierarchy, allowed):
        if (group / name).exists():  # not where the kernel keeps no account of swap
            (group / name).write_text(value)


def _settings(hierarchy: Hierarchy, allowed: Allowed) -> Iterator[tuple[str, str]]:
    second = hierarchy.version == 2
    if Control.MEMORY in hierarchy.controls:
        yield ("memory.max" if second else "memory.limit_in_bytes"), str(allowed.memory * MIB)
    if Control.PIDS in hierarchy.controls:
        yield "pids.max", str(allowed.tasks)
    if Control.CPU in hierarchy.controls and allowed.cpu is not None:
        quota = int(allowed.cpu * PERIOD)
        yield ("cpu.max", f"{quota} {PERIOD}") if second else ("cpu.cfs_quota_us", str(quota))


def _swap(hierarchy: Hierarchy, allowed: Allowed) -> Iterator[tuple[str, str]]:
    if Control.MEMORY in hierarchy.controls:
        yield (
            ("memory.swap.max", "0")
            if hierarchy.version == 2
            else (
                "memory.memsw.limit_in_bytes",
                str(allowed.memory * MIB),
            )
        )


def _members(group: Path) -> list[int]:
    with suppress(OSError):
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    return []


def _field(path: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
