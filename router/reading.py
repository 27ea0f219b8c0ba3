"""How many bytes are read at a time: of a body no more than a stream may hold, each way.

uvloop reads up to 250 KiB at once for a protocol that is given its bytes; one that gives the buffer says how much.

Whoever takes what is read may be slow. What the kernel does not take of it has to be held, and no more is read then
(the transports hold nothing without telling: see `unbuffered`). So a read that the kernel is sure to take may be
large, which saves calls, and all others are small enough to be held.
"""

import asyncio
import mmap
import socket
import struct
from typing import Final

HELD: Final = 65_536
"""Bytes of a body that are held, each way."""
FIRST: Final = HELD + 4_096
"""Bytes of a read that begins with a head, so that a message of 64 KiB is read at once."""
LARGE: Final = 256_000
"""Bytes of a read that the kernel is sure to take; as many as uvloop reads."""
SHARE: Final = 2
"""The kernel counts what it keeps beside the bytes too, which is far less than as much again for large pieces,"""
BESIDE: Final = 4_096
"""and less than this for each that is small."""

SO_MEMINFO: Final = 55
"""Linux; neither Python nor uvloop names it."""
MEMINFO: Final = struct.Struct("=9I")
SNDBUF: Final = 3
WMEM_QUEUED: Final = 5

BUFFER: Final = mmap.mmap(-1, LARGE)
WHOLE: Final = memoryview(BUFFER)
BEGINNING: Final = WHOLE[:FIRST]


class Bounded(asyncio.BufferedProtocol):
    """Reads no more at a time than it takes. The buffer is one for a whole worker: it is lent for a read, and what came
    is copied out before the next. It is a mapping because a slice of that is bytes, with no step between."""

    __slots__ = ()

    def takes(self) -> int:
        """How many bytes with the next read."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        raise NotImplementedError

    def get_buffer(self, sizehint: int) -> memoryview:
        most = self.takes()
        if most == FIRST:
            return BEGINNING
        return WHOLE[: max(most, 1)]  # who has enough already ends the reading with the next byte

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(BUFFER[:nbytes])


class Bounding(Bounded):
    """For a protocol that does not bound its reads itself."""

    __slots__ = ("_inner", "_most")

    def __init__(self, inner: asyncio.Protocol, *, most: int) -> None:
        self._inner = inner
        self._most = most

    def takes(self) -> int:
        return self._most

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)


def unbuffered(transport: asyncio.WriteTransport) -> None:
    """It asks for a pause as soon as the kernel does not take all that is written, and ends it when it has."""
    transport.set_write_buffer_limits(high=0)


class Ahead:
    """How much may be read at a time for one socket, while nothing waits to be written to it but what is read so."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._sure = 0
        """Bytes that the kernel takes, however slow the other side is."""

    def size(self) -> int:
        if self._sure < LARGE:
            self._sure = space(self._fd) // SHARE
        return LARGE if self._sure >= LARGE else HELD

    def written(self, length: int) -> None:
        self._sure -= length + BESIDE


def space(fd: int) -> int:
    """Of the kernel, for what is written to this socket; 0 where it does not tell."""
    try:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    except OSError:
        return 0
    try:
        told = MEMINFO.unpack(opened.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size))
    except (OSError, struct.error):
        return 0
    finally:
        opened.detach()
    return int(told[SNDBUF]) - int(told[WMEM_QUEUED])
