"""How the parent and a worker talk: messages over a socketpair, each a length of four bytes and then MessagePack."""

import asyncio
import socket
import struct
from typing import Any, Generic, TypeVar

import msgspec

from hotswap.settings import RouterLimits
from router.rows import Row
from router.table import Revisions, Update

LENGTH = struct.Struct(">I")


class Message(msgspec.Struct, frozen=True, tag=True):
    pass


class Begin(Message, frozen=True):
    """To a new worker, first of all."""

    workers: int
    drain_seconds: float
    express: bool = True
    """Otherwise every request goes through the general lane."""
    trusted: tuple[str, ...] = ()
    """Networks of proxies that are believed."""
    limits: RouterLimits = RouterLimits()


class Apply(Message, frozen=True):
    """Of the table; the first one is all of it."""

    update: Update
    rows: list[Row]


class Granted(Message, frozen=True):
    """Where to count versions that were named themselves."""

    rows: list[Row]


class Drain(Message, frozen=True):
    """Finish what runs, then end."""


class Ready(Message, frozen=True):
    """Requests are taken."""


class Applied(Message, frozen=True):
    """No pick is made by an older table any more."""

    revisions: Revisions


class Want(Message, frozen=True):
    """A row for a version that was named itself."""

    function: str
    version: int


class Nodes(Message, frozen=True):
    """Where a version that has had errors was answered by this worker since it began, and failed: by node."""

    function: str
    version: int
    counts: dict[str, tuple[int, int]]


class Beat(Message, frozen=True):
    """The worker is not stuck."""


ToWorker = Begin | Apply | Granted | Drain
ToParent = Ready | Applied | Want | Nodes | Beat

Incoming = TypeVar("Incoming")


class Channel(Generic[Incoming]):
    """One end; `incoming` is the union of what the other end may say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, incoming: Any) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = msgspec.msgpack.Decoder(incoming)

    def send(self, message: ToWorker | ToParent) -> None:
        self.send_encoded(encode(message))

    def send_encoded(self, data: bytes) -> None:
        """Never waits: the other end reads at once, or is dead or stuck, which its beat tells."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def receive(self) -> Incoming | None:
        """`None` when the other end is gone."""
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        message: Incoming = self._decoder.decode(body)
        return message

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return


def encode(message: ToWorker | ToParent) -> bytes:
    """For a message that goes to several workers: encoded once."""
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body


async def parent_end(sock: socket.socket) -> Channel[ToParent]:
    return Channel(*await asyncio.open_unix_connection(sock=sock), ToParent)


async def worker_end(sock: socket.socket) -> Channel[ToWorker]:
    return Channel(*await asyncio.open_unix_connection(sock=sock), ToWorker)
