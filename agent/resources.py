"""What instances use: memory as their proportional share, and processor time, of all processes of a session."""

import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from agent.memory import share
from agent.processes import PROC, sessions

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Used:
    memory: int = 0
    """Bytes: pages that are shared count for each by its part."""
    cpu: float = 0.0
    """Seconds since the start, in user and system mode; with those of processes that ended and were waited for."""


def used(leaders: Iterable[int]) -> dict[int, Used]:
    """By the pid that leads the session. Reads /proc for some milliseconds."""
    wanted, members = set(leaders), defaultdict[int, list[int]](list)
    for pid, session in sessions() if wanted else ():
        if session in wanted:
            members[session].append(pid)
    return {leader: Used(sum(map(share, pids)), sum(map(_cpu, pids))) for leader, pids in members.items()}


def _cpu(pid: int) -> float:
    with suppress(OSError, IndexError, ValueError):
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * TICK  # utime, stime, and those of children that were waited for
    return 0.0
