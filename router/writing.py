"""Writes at once, where uvloop would wait for the end of its turn.

uvloop keeps what is written until it has read all that has come, and then writes for all connections together. Here the
other way round pays: whoever has its bytes works on them on another core while this one reads on, so instances and
clients idle less, and there are more requests a second for the same work.
"""

import asyncio
import os
from typing import Final

NONE: Final = -1
"""In place of a descriptor: the transport has none that may be written to."""
LARGE: Final = 8_192
"""Bytes of a piece from which on a copy of it costs more than to tell the kernel of several parts."""


def descriptor(transport: asyncio.BaseTransport) -> int:
    opened = transport.get_extra_info("socket")
    return NONE if opened is None else int(opened.fileno())


def write(transport: asyncio.Transport, fd: int, data: bytes, piece: bytes = b"", tail: bytes = b"") -> None:
    """All three, by one call of the system; `fd` is the transport's. Nothing overtakes what the transport still has to
    write, and what the kernel does not take it gets. A transport that is closing gets all: its descriptor may be
    another's by now."""
    large = len(piece) >= LARGE
    if not large and (piece or tail):
        data = b"".join((data, piece, tail))
    written = 0
    if fd != NONE and not (transport.is_closing() or transport.get_write_buffer_size()):
        try:
            written = os.writev(fd, (data, piece, tail)) if large else os.write(fd, data)
        except OSError:  # it would block; or it is broken, which the transport finds and tells
            written = 0
    if large:
        if written == len(data) + len(piece) + len(tail):
            return
        data = b"".join((data, piece, tail))
    if written < len(data):
        transport.write(data[written:])
