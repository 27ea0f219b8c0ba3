"""The client of a case: sends its bytes, and hears all that comes back.

How does it know that all has come, without waiting for a time? Unless it is told that the connection closes, it sends
one more request, the probe: whatever is heard before the answer to that came of the case.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.conformance.cases import Way
from tests.conformance.upstream import PROBE, PROBED_MARK
from tests.conformance.wire import Message, take_answer

PROBE_REQUEST = b"GET /fn/f%b HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n" % PROBE


@dataclass
class Heard:
    interim: list[Message] = field(default_factory=list)
    answers: list[Message] = field(default_factory=list)
    left: bytes = b""
    """What came after them and is no whole answer."""
    ended: bool = False
    """The connection was closed."""
    probed: bool = False
    """It was not, and took another request."""

    @property
    def silent(self) -> bool:
        """Neither an answer nor an end, within the limit."""
        return not (self.answers or self.ended)

    @property
    def told_to_close(self) -> bool:
        return any(b"close" in value.lower() for answer in self.answers for value in answer.values(b"connection"))


class Conversation:
    def __init__(self, sock: socket.socket, *, to_head: bool) -> None:
        self.heard = Heard()
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._to_head = to_head

    async def run(self, data: bytes, way: Way) -> None:
        sending = asyncio.create_task(self._send(data, way))
        try:
            await self._hear_until(lambda heard: bool(heard.answers))
            await sending
            if not (self.heard.ended or self.heard.told_to_close):
                await self._send(PROBE_REQUEST, "whole")
            await self._hear_until(lambda heard: heard.probed)
        finally:
            sending.cancel()

    async def _send(self, data: bytes, way: Way) -> None:
        """As much as is taken: whoever has refused the request may have closed meanwhile."""
        pieces = [data] if way == "whole" else [data[at : at + 1] for at in range(len(data))]
        try:
            for piece in pieces:
                await self._loop.sock_sendall(self._sock, piece)
                await asyncio.sleep(0)
        except ConnectionError:
            return

    async def _hear_until(self, enough: Callable[[Heard], bool]) -> None:
        while not (enough(self.heard) or self.heard.ended):
            try:
                data = await self._loop.sock_recv(self._sock, 65_536)
            except ConnectionError:
                data = b""
            self.heard.left += data
            self.heard.ended = not data
            while answer := self._take():
                self.heard.left = self.heard.left[answer.size :]
                self._sort(answer)

    def _take(self) -> Message | None:
        if not self.heard.left:
            return None
        to_head = self._to_head and not self.heard.answers
        return take_answer(self.heard.left, to_head=to_head, ended=self.heard.ended)

    def _sort(self, answer: Message) -> None:
        if PROBED_MARK in answer.names:
            self.heard.probed = True
        elif answer.status < 200:
            self.heard.interim.append(answer)
        else:
            self.heard.answers.append(answer)


async def converse(port: int, data: bytes, way: Way, *, limit: float) -> Heard:
    """All that was heard within so many seconds."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        conversation = Conversation(sock, to_head=data.startswith(b"HEAD "))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await conversation.run(data, way)
        return conversation.heard
