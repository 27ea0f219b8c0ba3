"""Limits that a process sets on itself, before it runs what is not ours."""

import contextlib
import ctypes
import resource

MIB = 1 << 20
OPEN_FILES = 65_536
"""Enough for the greatest concurrency, with connections of the function's own."""
DATA_FACTOR = 2
DATA_SPARE = 1024 * MIB
"""The agent's watchdog keeps the memory limit. This one is wider, since it counts what is mapped and not what is used
(stacks of threads, arenas); it stops a process that allocates faster than the watchdog looks."""
OOM_SCORE = "500"
"""When the machine runs out of memory, instances go before the platform."""
PR_SET_NO_NEW_PRIVS = 38


def apply(memory: int) -> None:
    """`memory` in MiB."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_DATA, memory * MIB * DATA_FACTOR + DATA_SPARE)
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(OOM_SCORE)


def _lower(limit: int, value: int) -> None:
    """Never above what this process was given."""
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
