"""The kernel's limits of instances: a control group for each, in whatever hierarchies are there and may be written to.

Version 2 has one hierarchy for all controllers, version 1 one for each; a machine may have both. Groups are made below
the agent's own, so that what limits the agent limits its instances as well. In version 2 a group that has processes
cannot give controllers to those below it, so the agent moves into a leaf of it, `agent`, unless it was started there.
It takes along what else is in the group if that was given to it: by systemd's `Delegate=yes`, or as that of a
container. A group that it shares with others is left as it is.

A process joins its groups itself (`runtime.limits`), before it runs what is not ours; what is forked ahead (`spare.py`)
before it is known which instance it will be, so groups have names of their own.
"""

import hashlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

log = logging.getLogger(__name__)

LEAF = "agent"
MOVES = 10
"""Times that the processes of a group are looked at and moved, since they may start others meanwhile."""
DELEGATED = ("user.delegate", "trusted.delegate")
"""Attributes by which systemd marks a group that it leaves to whom it is given; the second is that of older ones."""
UNITS = (".service", ".scope", ".slice")
"""Groups of systemd's. In what it has not delegated it takes the controllers back, when it is reloaded."""
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


TRIAL = Allowed(memory=64, tasks=64, cpu=1.0)


def detect(proc: Path = Path("/proc/self")) -> list[Hierarchy]:
    """Those with a controller that we can use, each controller in one of them; empty where there is none."""
    try:
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
        entries = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    except OSError:
        return []
    found: dict[Control, Hierarchy] = {}
    for mount in mounts:
        kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
        names = {Control(name) for name in options if name in list(Control)}
        if kind == "cgroup2":
            path = next((path for number, _, path in entries if number == "0"), "/")
            hierarchy = _second(_own(mount, path), container=path == "/")
        elif kind == "cgroup" and names:
            path = next((path for _, held, path in entries if names & set(held.split(","))), "/")
            hierarchy = Hierarchy(1, _own(mount, path), frozenset(names))
        else:
            continue
        if os.access(hierarchy.folder, os.W_OK):
            for control in hierarchy.controls:
                found.setdefault(control, hierarchy)  # the same may be mounted twice
    return list(dict.fromkeys(found.values()))


def _own(mount: list[str], path: str) -> Path:
    """Where this process is in a hierarchy that is mounted there; what is mounted may be a part of it."""
    root, point = mount[3], Path(mount[4])
    below = path.removeprefix(root) if root != "/" else path
    place = point / below.lstrip("/")
    return place if place.is_dir() else point


def _second(own: Path, *, container: bool) -> Hierarchy:
    """`container`: all that this process may see is below it, so it is a container's, unless it is the machine's."""
    folder = own.parent if own.name == LEAF else own
    try:
        present = [Control(it) for it in (folder / "cgroup.controllers").read_text().split() if it in list(Control)]
    except OSError:
        present = []
    if present and (why := _refusal(folder, container=container)):
        log.warning("instances are not limited by cgroup v2: %s", why)
        present = []
    return Hierarchy(2, folder, frozenset(it for it in present if _enabled(folder, it)))


def _refusal(folder: Path, *, container: bool) -> str:
    """Why groups in there can have neither controllers nor processes; empty once they can."""
    for path in (folder, folder / "cgroup.procs"):  # a process comes from where the agent is, which needs both
        if not os.access(path, os.W_OK):
            return f"{path} may not be written to"
    delegated = _delegated(folder)
    if not delegated and folder.name.endswith(UNITS):
        return f"systemd has not delegated {folder}; give the unit of the agent Delegate=yes"
    try:
        if _emptied(folder, all_of_it=container or delegated):
            return ""
    except OSError as error:
        return f"the agent cannot move into {folder / LEAF}: {error.strerror}"
    return f"{folder} has other processes, too; start the agent in a group of its own"


def _emptied(folder: Path, *, all_of_it: bool) -> bool:
    """Whether no process is in the way, after this one has moved into the leaf; or all that are in the group."""
    for _ in range(MOVES):
        if not (folder / "cgroup.type").exists():  # only the machine's root has none, and it may have processes
            return True
        members = (folder / "cgroup.procs").read_text().split()
        if not members:
            return True
        if not all_of_it and members != [str(os.getpid())]:
            return False
        (folder / LEAF).mkdir(exist_ok=True)
        for pid in members:
            with suppress(ProcessLookupError):
                (folder / LEAF / "cgroup.procs").write_text(pid)
    return False


def _delegated(folder: Path) -> bool:
    for name in DELEGATED:
        with suppress(OSError):
            return os.getxattr(folder, name) == b"1"
    return False


def _enabled(folder: Path, control: Control) -> bool:
    """Whether the groups below have the controller, now that it is switched on for them."""
    try:
        (folder / "cgroup.subtree_control").write_text(f"+{control}")
    except OSError as error:
        log.warning("instances are not limited in their %s by cgroup v2: %s: %s", control, folder, error.strerror)
        return False
    return True


class Groups:
    """Of the instances of one agent."""

    def __init__(self, hierarchies: list[Hierarchy], state_dir: Path) -> None:
        """Agents on one machine may have the same name; their state directories tell them apart."""
        self._mark = f"hotswap-{hashlib.sha256(str(state_dir).encode()).hexdigest()[:8]}-"
        self._hierarchies = [it for it in map(self._tried, hierarchies) if it.controls]
        self._held: set[str] = set()
        for hierarchy in self._hierarchies:
            _sweep(hierarchy)

    def guard(self, control: Control) -> str:
        """What keeps a limit, in words; empty when it is not the kernel."""
        hierarchy = self._of(control)
        return f"cgroup v{hierarchy.version}" if hierarchy else ""

    def keeps(self, control: Control, name: str) -> bool:
        """Whether the kernel limits who is in there. An instance that was adopted may have been started without a
        group, and a controller may be taken from the groups that are there."""
        hierarchy = self._of(control)
        return hierarchy is not None and (self._group(hierarchy, name) / _file(hierarchy, control)).exists()

    def make(self, name: str, allowed: Allowed | None = None) -> list[str]:
        """The files into which a process writes its number to join; without limits until these are known. Raises
        `OSError`."""
        self._held.add(name)
        groups = [self._group(hierarchy, name) for hierarchy in self._hierarchies]
        for group in groups:
            group.mkdir(exist_ok=True)
        if allowed:
            self.limit(name, allowed)
        return [str(group / "cgroup.procs") for group in groups]

    def limit(self, name: str, allowed: Allowed) -> None:
        """By the controllers that are there: one that was taken away is switched on again, else that is said, and
        `keeps` tells who has to look. Raises `OSError`."""
        for hierarchy in self._hierarchies:
            group = self._group(hierarchy, name)
            for control in hierarchy.controls:
                try:
                    _limit(group, hierarchy, control, allowed)
                except OSError:
                    if hierarchy.version == 1 or (group / _file(hierarchy, control)).exists():
                        raise
                    if _enabled(hierarchy.folder, control):
                        _limit(group, hierarchy, control, allowed)

    def hold(self, name: str) -> None:
        """Made by an earlier agent, for somebody who lives."""
        self._held.add(name)

    def killed_for_memory(self, name: str) -> int:
        """How many of its processes the kernel has killed."""
        hierarchy = self._of(Control.MEMORY)
        if hierarchy is None:
            return 0
        file = "memory.events" if hierarchy.version == 2 else "memory.oom_control"
        return _field(self._group(hierarchy, name) / file, "oom_kill")

    def out_of_its_memory(self, name: str) -> bool:
        """Whether it has reached its own limit; else the machine, or a group that this is in, had no more."""
        hierarchy = self._of(Control.MEMORY)
        if hierarchy is None:
            return False
        group = self._group(hierarchy, name)
        if hierarchy.version == 2:
            return _field(group / "memory.events", "oom") > 0
        most = max(_count(group / f"memory.{it}max_usage_in_bytes") for it in ("", "memsw."))
        return most > _count(group / "memory.limit_in_bytes") - MIB  # what is refused may be some pages at once

    def refused_processes(self, name: str) -> int:
        """How many times it could not fork."""
        hierarchy = self._of(Control.PIDS)
        return _field(self._group(hierarchy, name) / "pids.events", "max") if hierarchy else 0

    def left(self) -> set[str]:
        """Those that are there and nobody's: of an agent, or of an instance, whose end was not seen to."""
        return self.names() - self._held

    def names(self) -> set[str]:
        found = (path.name for hierarchy in self._hierarchies for path in hierarchy.folder.glob(f"{self._mark}*"))
        return {name.removeprefix(self._mark) for name in found}

    def remove(self, name: str) -> set[int]:
        """Ends what is left in the groups, whatever session it made itself, and removes them; a group whose processes
        take a moment to go is left for the next time. The processes that were found."""
        self._held.discard(name)
        left: set[int] = set()
        for hierarchy in self._hierarchies:
            groups = list(_tree(self._group(hierarchy, name)))
            left.update(_ended(groups))
            for group in groups:
                with suppress(OSError):
                    group.rmdir()
        return left

    def _of(self, control: Control) -> Hierarchy | None:
        return next((it for it in self._hierarchies if control in it.controls), None)

    def _group(self, hierarchy: Hierarchy, name: str) -> Path:
        return hierarchy.folder / (self._mark + name)

    def _tried(self, hierarchy: Hierarchy) -> Hierarchy:
        """With the controls by which a group could be limited, since nothing else tells whether that is allowed."""
        group = self._group(hierarchy, "trial")
        controls = set()
        try:
            group.mkdir(exist_ok=True)
            for control in hierarchy.controls:
                try:
                    _limit(group, hierarchy, control, TRIAL)
                except OSError as error:
                    log.warning("%s of instances is not limited by control groups: %s", control, error)
                else:
                    controls.add(control)
            group.rmdir()
        except OSError as error:
            log.info("control groups in %s cannot be used: %s", hierarchy.folder, error)
            controls.clear()
        return replace(hierarchy, controls=frozenset(controls))


def _sweep(hierarchy: Hierarchy) -> None:
    """Removes what agents have left that never came back; only an empty group can be removed."""
    for group in hierarchy.folder.glob("hotswap-*"):
        with suppress(OSError):
            if time.time() - group.stat().st_mtime > FORGOTTEN:
                group.rmdir()


def _limit(group: Path, hierarchy: Hierarchy, control: Control, allowed: Allowed) -> None:
    for name, value in _settings(hierarchy, control, allowed):
        (group / name).write_text(value)
    for name, value in _where_there(hierarchy, control, allowed):
        if (group / name).exists():
            (group / name).write_text(value)


def _file(hierarchy: Hierarchy, control: Control) -> str:
    """That holds the limit."""
    first = {Control.MEMORY: "memory.limit_in_bytes", Control.CPU: "cpu.cfs_quota_us"}
    return f"{control}.max" if hierarchy.version == 2 else first.get(control, "pids.max")


def _settings(hierarchy: Hierarchy, control: Control, allowed: Allowed) -> Iterator[tuple[str, str]]:
    file = _file(hierarchy, control)
    if control is Control.MEMORY:
        yield file, str(allowed.memory * MIB)
    elif control is Control.PIDS:
        yield file, str(allowed.tasks)
    elif allowed.cpu is not None:
        quota = int(allowed.cpu * PERIOD)
        yield file, f"{quota} {PERIOD}" if hierarchy.version == 2 else str(quota)


def _where_there(hierarchy: Hierarchy, control: Control, allowed: Allowed) -> Iterator[tuple[str, str]]:
    """Not every kernel keeps an account of swap, or ends all of a group when it has to end one."""
    if control is not Control.MEMORY:
        return
    if hierarchy.version == 2:
        yield "memory.swap.max", "0"
        yield "memory.oom.group", "1"
    else:
        yield "memory.memsw.limit_in_bytes", str(allowed.memory * MIB)


def _tree(group: Path) -> Iterator[Path]:
    """With the groups that an instance has made in its own, which come first."""
    for folder, _, _ in os.walk(group, topdown=False):
        yield Path(folder)


def _ended(groups: list[Path]) -> set[int]:
    """Kills the processes of a tree of groups, its root being the last; those that were there."""
    found = {pid for group in groups for pid in _members(group)}
    try:
        (groups[-1] / "cgroup.kill").write_text("1")
    except (OSError, IndexError):  # version 1, and kernels before 5.14
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return found


def _members(group: Path) -> list[int]:
    with suppress(OSError):
        pids = map(int, (group / "cgroup.procs").read_text().split())
        return [pid for pid in pids if pid]  # 0 for one outside of our namespace
    return []


def _count(path: Path) -> int:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return 0


def _field(path: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
