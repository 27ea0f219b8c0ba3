"""Limits that a process sets on itself, before it runs what is not ours."""

import contextlib
import ctypes
import json
import os
import resource
from dataclasses import asdict, dataclass

MIB = 1 << 20
DATA_FACTOR = 2
DATA_SPARE = 1024 * MIB
"""The agent or its control group keeps the memory limit. This one is wider, since it counts what is mapped and not what
is used (stacks of threads, arenas); it stops a process that allocates faster than the agent looks."""
LEAST_FILE = 16 * MIB
"""What it prints may be a file, too, which the agent keeps from growing."""
OOM_SCORE = "500"
"""When the machine runs out of memory, instances go before the platform."""
PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True, slots=True)
class Limits:
    memory: int
    """MiB."""
    files: int
    """Open files and sockets."""
    disk: int
    """MiB a single file may have; for all of them together the agent looks."""
    groups: list[str]
    """Files of the control groups to join, where that has not been done."""


def encode(limits: Limits) -> str:
    return json.dumps(asdict(limits))


def parse(text: str) -> Limits:
    return Limits(**json.loads(text))


def join(groups: list[str]) -> None:
    """This takes milliseconds, in which the kernel waits. Raises `OSError`."""
    for group in groups:
        with open(group, "w") as file:
            file.write(str(os.getpid()))


def apply(limits: Limits) -> None:
    join(limits.groups)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, limits.files)
    _lower(resource.RLIMIT_FSIZE, max(limits.disk * MIB, LEAST_FILE))
    _lower(resource.RLIMIT_DATA, limits.memory * MIB * DATA_FACTOR + DATA_SPARE)
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(OOM_SCORE)


def _lower(limit: int, value: int) -> None:
    """Never above what this process was given."""
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
