"""One request and its response on a connection, for a lane that waits: what arrives is kept until it is taken.

At most 32 KiB are kept, beside as many that were taken and are being written. Then, and after a first read that is
larger, the connection is not read until more is asked for.
"""

import asyncio
from collections import deque

from router.codec.responses import Head
from router.reading import HELD
from router.upstream import Broken, Connection, Receiver

KEPT = HELD // 2
"""Bytes of a body."""


class Exchange(Receiver):
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.ended = False
        self._heads: deque[Head] = deque()
        self._pieces: list[bytes] = []
        self._held = 0
        self._paused = False
        self._error: Broken | None = None
        self._wanted: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    async def next_head(self) -> Head:
        """Interim ones first. Raises `Broken`."""
        while not self._heads:
            await self._more()
        return self._heads.popleft()

    async def next_piece(self) -> bytes:
        """All that has come of the body, as soon as there is any; empty at its end. Raises `Broken`."""
        while not (self._pieces or self.ended):
            if self._paused:
                self._paused = False
                self.connection.resume()
            await self._more()
        return self.take()

    def take(self) -> bytes:
        """All that has come of the body since."""
        if not self._pieces:
            return b""
        pieces, self._pieces, self._held = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self) -> None:
        """Returns when the endpoint has taken enough of what was written, or is gone."""
        if self.connection.backed_up:
            self._room = self._room or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def interim(self, head: Head) -> None:
        self._heads.append(head)
        self._wake()

    def head(self, head: Head, piece: bytes, *, ended: bool) -> None:
        self._heads.append(head)
        self.body(piece, ended=ended)

    def body(self, piece: bytes, *, ended: bool) -> None:
        self.ended = ended
        if piece:
            self._pieces.append(piece)
            self._held += len(piece)
        if self._held >= KEPT and not (self._paused or ended):
            self._paused = True
            self.connection.pause()
        self._wake()

    def wanted(self) -> int:
        return KEPT - self._held

    def broken(self, error: Broken) -> None:
        self._error = error
        self.drained()
        self._wake()

    def drained(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._wanted = asyncio.get_running_loop().create_future()
        try:
            await self._wanted
        finally:
            self._wanted = None

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)
