"""How many bytes are read at a time for a protocol of asyncio that does not bound that itself.

asyncio reads up to 256 KiB at once for a protocol that is given its bytes; one that gives the buffer says how much.
"""

import asyncio
import mmap
from typing import Final

from router.reading import LARGE

BUFFER: Final = mmap.mmap(-1, LARGE)
"""One for a whole worker: it is lent for a read, and what came is copied out before the next."""


class Bounding(asyncio.BufferedProtocol):
    __slots__ = ("_buffer", "_inner")

    def __init__(self, inner: asyncio.Protocol, *, most: int) -> None:
        self._inner = inner
        self._buffer = memoryview(BUFFER)[:most]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._inner.data_received(BUFFER[:nbytes])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
