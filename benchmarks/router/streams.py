"""Event streams that do not end: who sends the events, and who listens. Both are this process, on the load's core."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from benchmarks.router.case import FIELDS, WEIGHTS, Case
from benchmarks.router.load import Report

RATE = 10
"""Events a second on each stream."""
SLOTS = 50
"""The streams take turns, so that not all of them have their event at the same moment."""
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nBackend: %d\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
PADDING = b"x" * 64
DATA, END = b"data: ", b"\n\n"
DIGITS = 20
OPEN_AT_ONCE = 100
OPEN_LIMIT = 30.0
"""Seconds for all streams to begin."""


class Source(asyncio.Protocol):
    """One stream of a backend's."""

    def __init__(self, version: int, streams: list["Source"]) -> None:
        self._head = HEAD % version
        self._streams = streams
        self._asked = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if self._asked.endswith(b"\r\n\r\n"):
            self._asked = b""
            self.write(self._head)
            if self not in self._streams:
                self._streams.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self in self._streams:
            self._streams.remove(self)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


@dataclass
class Sources:
    """The pair of backends that send events."""

    ports: list[int] = field(default_factory=list)
    streams: list[list[Source]] = field(default_factory=list)
    """By backend, those that are open."""

    def shares(self) -> list[int]:
        return [len(streams) for streams in self.streams]

    async def send(self) -> None:
        clock = asyncio.get_running_loop().time
        slot, due = 0, clock()
        while True:
            news = event()
            for streams in self.streams:
                for stream in streams[slot::SLOTS]:
                    stream.write(news)
            slot = (slot + 1) % SLOTS
            due += 1 / (RATE * SLOTS)
            await asyncio.sleep(max(0.0, due - clock()))


@asynccontextmanager
async def sources() -> AsyncIterator[Sources]:
    loop = asyncio.get_running_loop()
    made = Sources()
    servers = []
    for version in WEIGHTS:
        streams: list[Source] = []
        server = await loop.create_server(partial(Source, version, streams), "127.0.0.1", 0, backlog=4096)
        servers.append(server)
        made.streams.append(streams)
        made.ports.append(server.sockets[0].getsockname()[1])
    sending = asyncio.create_task(made.send(), name="send events")
    try:
        yield made
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        for server in servers:
            server.close()


@dataclass
class Listeners:
    """What all of them have heard."""

    events: int = 0
    begun: int = 0
    refused: int = 0
    lost: int = 0
    latencies: list[float] = field(default_factory=list)
    """Milliseconds from an event's source to its listener."""
    closing: bool = False

    def report(self) -> Report:
        cuts = statistics.quantiles(self.latencies, n=100) if len(self.latencies) > 1 else [0.0] * 99
        return Report(cuts[49], cuts[98], {"refused": self.refused, "lost": self.lost})


class Listener(asyncio.Protocol):
    def __init__(self, request: bytes, heard: Listeners) -> None:
        self._request = request
        self._heard = heard
        self._transport: asyncio.Transport | None = None
        self._begun = False
        self._half = False
        """The last byte was the first half of what ends an event."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            self._heard.begun += 1
            self._heard.refused += not data.startswith(b"HTTP/1.1 200 ")
        self._heard.events += data.count(END) + (self._half and data.startswith(b"\n"))
        self._half = data.endswith(b"\n") and not data.endswith((END, b"\r\n"))
        at = data.rfind(DATA)
        stamp = data[at + len(DATA) : at + len(DATA) + DIGITS]
        if at >= 0 and len(stamp) == DIGITS and stamp.isdigit():
            self._heard.latencies.append((time.monotonic_ns() - int(stamp)) / 1e6)

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard.lost += not self._heard.closing

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def listening(case: Case, port: int) -> AsyncIterator[Listeners]:
    """So many streams as the case has, all of them begun."""
    loop = asyncio.get_running_loop()
    heard = Listeners()
    request = _request(case)
    listeners: list[Listener] = []
    try:
        async with asyncio.timeout(OPEN_LIMIT):
            for _ in range(0, case.connections, OPEN_AT_ONCE):
                opening = [
                    loop.create_connection(partial(Listener, request, heard), "127.0.0.1", port)
                    for _ in range(min(OPEN_AT_ONCE, case.connections - len(listeners)))
                ]
                listeners += [listener for _, listener in await asyncio.gather(*opening)]
            while heard.begun < case.connections:  # noqa: ASYNC110 - to wait costs nothing that is measured
                await asyncio.sleep(0.05)
        yield heard
    finally:
        heard.closing = True
        for listener in listeners:
            listener.close()


def _request(case: Case) -> bytes:
    lines = [f"GET {case.target} HTTP/1.1", "Host: bench.test", *(f"{name}: {value}" for name, value in FIELDS.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def event() -> bytes:
    """In a chunk of its own, with the time in nanoseconds."""
    text = b"%b%0*d %b%b" % (DATA, DIGITS, time.monotonic_ns(), PADDING, END)
    return b"%x\r\n%b\r\n" % (len(text), text)
