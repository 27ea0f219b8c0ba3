"""How much memory processes use."""

import os
from contextlib import suppress

from agent.processes import PROC

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int) -> int:
    """Bytes; pages that are shared count whole."""
    with suppress(OSError, IndexError):
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE
    return 0


def share(pid: int) -> int:
    """Bytes of memory, as the proportional share."""
    with suppress(OSError, IndexError, ValueError):
        text = (PROC / str(pid) / "smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split()[0]) * 1024
    return resident(pid)
