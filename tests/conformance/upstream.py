"""The upstream of a case: a server that records every byte it gets, and answers what the case has it answer.

A request for `/probe` is nobody's case: it is how a client finds out that its connection goes on, and the answer marks
the end of all that a case has brought about.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.conformance.cases import ANSWER, Case, Way, raw
from tests.conformance.wire import END, Message, take_request

PROBE = b"/probe"
PROBED = b"HTTP/1.1 200 OK\r\nX-Probed: 1\r\nContent-Length: 0\r\n\r\n"
PROBED_MARK = "x-probed"
LOOPBACK = "127.0.0.1"
FENCE = b"\x00"
"""What nobody sends but the upstream itself, to have its turn after all others."""
CLOSE_LIMIT = 3.0
"""Seconds for whoever is connected to see that a case is over."""


@dataclass
class Told:
    """What one connection brought."""

    bytes: bytearray = field(default_factory=bytearray)
    requests: list[Message] = field(default_factory=list)
    probed: bool = False


@dataclass
class Script:
    answer: bytes
    at_head: bool
    piecemeal: bool
    ends: bool

    @classmethod
    def of(cls, case: Case, way: Way) -> "Script":
        piecemeal = way == "bytes" and not case.upstream_burst
        return cls(raw(case.upstream), case.upstream_at == "head", piecemeal, case.upstream_ends)


class ScriptedUpstream:
    def __init__(self) -> None:
        self.port = 0
        self._script = Script(b"", at_head=False, piecemeal=False, ends=False)
        self._told: list[Told] = []
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def begin(self, script: Script) -> list[Told]:
        """From here on it answers by this script; what is recorded grows in the list, by connection."""
        self._script, self._told = script, []
        return self._told

    def begin_plain(self) -> list[Told]:
        """It answers every request alike, at once."""
        return self.begin(Script(raw(ANSWER), at_head=False, piecemeal=False, ends=False))

    async def settle(self) -> None:
        """Ends all connections, and returns when whoever had them knows: none is used again by the next case."""
        await self._accept_all()
        for writer in self._open.values():
            if not writer.transport.is_closing():
                with contextlib.suppress(OSError):  # reset by the other side, and not told so yet
                    writer.write_eof()
        if self._open:
            _, late = await asyncio.wait(self._open, timeout=CLOSE_LIMIT)
            for task in late:
                self._open[task].transport.abort()
            await asyncio.gather(*late)

    async def _accept_all(self) -> None:
        """Returns when every connection that was made is open here, since they are accepted in order."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        writer.write(FENCE)
        await reader.read(-1)
        writer.close()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        told = Told()
        self._told.append(told)
        try:
            await self._answer_all(reader, writer, told)
        except ConnectionError:
            pass
        finally:
            del self._open[task]
            writer.transport.abort()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: Told) -> None:
        pending, script, answered = b"", self._script, False
        while (data := await reader.read(65_536)) != FENCE and data:
            told.bytes += data
            pending += data
            if script.at_head and END in pending and not answered and not _is_probe(pending):
                answered = True
                await _say(writer, script)
            while request := take_request(pending):
                pending = pending[request.size :]
                if _is_probe(request.start):
                    told.probed = True
                    writer.write(PROBED)
                    continue
                told.requests.append(request)
                if not answered:
                    await _say(writer, script)
                answered = False
            if writer.transport.is_closing():
                return


async def _say(writer: asyncio.StreamWriter, script: Script) -> None:
    pieces = [script.answer[at : at + 1] for at in range(len(script.answer))] if script.piecemeal else [script.answer]
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    if script.ends:
        writer.close()


def _is_probe(head: bytes) -> bool:
    return PROBE in head.split(b"\r\n", 1)[0]


@asynccontextmanager
async def scripted_upstream() -> AsyncIterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    server = await asyncio.start_server(upstream.talk, LOOPBACK, 0)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        await upstream.settle()
        server.close()
        await server.wait_closed()
