"""The one line that an instance writes to its agent: that it is ready, or why it never will be."""

import json
import os
import sys
from typing import NoReturn

from . import traces

EXIT_CODE = 3
"""Of a process that could not start its function."""
TRACEBACK_LINES = 12
LONGEST = 4_000
"""Characters of a message, or of a line."""


class Report:
    """The descriptor is not inherited by what the function starts, and closes with the one line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - it takes no keyword

    def ready(self, *, import_seconds: float, init_seconds: float) -> None:
        figures = {"import_ms": import_seconds * 1000, "init_ms": init_seconds * 1000, "memory": _resident()}
        self._tell({"ready": figures})

    def failed(self, error: BaseException, *, what: str) -> NoReturn:
        """Tells why and ends the process."""
        lines = traces.of(error)
        kind = type(error).__name__
        last = [line[:LONGEST] for line in lines[-TRACEBACK_LINES:]]
        self._tell({"failed": {"what": what, "type": kind, "message": str(error)[:LONGEST], "traceback": last}})
        print("\n".join(lines), file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)  # threads that the function started must not keep it alive

    def _tell(self, line: dict[str, object]) -> None:
        with open(self._descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _resident() -> int:
    """Bytes of memory in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
