"""Writes at once, where uvloop would wait for the end of its turn.

uvloop keeps what is written until it has read all that has come, and then writes for all connections together. Here the
other way round pays: whoever has its bytes works on them on another core while this one reads on, so instances and
clients idle less, and there are more requests a second for the same work.
"""

import asyncio
import contextlib
import os
from typing import Final

NONE: Final = -1
"""In place of a descriptor: the transport has none that may be written to."""
LARGE: Final = 8_192
"""Bytes of a piece from which on a copy of it costs more than to tell the kernel of several parts."""


def descriptor(transport: asyncio.BaseTransport) -> int:
    opened = transport.get_extra_info("socket")
    return NONE if opened is None else int(opened.fileno())


def write(transport: asyncio.Transport, fd: int, data: bytes, *, behind: bool) -> None:
    """`fd` is the transport's, which is `unbuffered`; `behind`: it has paused its protocol, so that there is something
    that this must not overtake. What the kernel does not take the transport gets. One that is closing gets all: its
    descriptor may be another's by now."""
    if not behind and fd != NONE and not transport.is_closing():
        try:
            written = os.write(fd, data)
        except OSError:  # it would block; or it is broken, which the transport finds and tells
            written = 0
        if written == len(data):
            return
        data = data[written:]
    transport.write(data)


def write_parts(transport: asyncio.Transport, fd: int, parts: tuple[bytes, bytes, bytes], *, behind: bool) -> None:
    """The same of parts of which one is `LARGE`, by one call of the system."""
    written = 0
    if not behind and fd != NONE and not transport.is_closing():
        with contextlib.suppress(OSError):
            written = os.writev(fd, parts)
    if written < sum(map(len, parts)):
        transport.write(b"".join(parts)[written:])
