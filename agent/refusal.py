"""What is answered to those who wait for an instance that will not be there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from agent.standby import LEAST_BACKLOG, Standby

HEAD_LIMIT = 64 << 10
"""Bytes of a request's head."""
LIMIT = 2.0
"""Seconds for somebody to send the head of his request, and to take the answer."""
RETRY_AFTER = 1
"""Seconds."""


@asynccontextmanager
async def refusing(standby: Standby, why: Exception) -> AsyncIterator[None]:
    """Within the context whoever has connected, or connects, is told by a 503. At its end all of them have been, and
    the standby's socket is closed."""
    reason, _, _ = str(why).partition("\n")
    detail = f"{standby} does not start: {reason}"
    talks: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.create_task(_refuse(reader, writer, detail), name="refuse")
        talks.add(talk)
        talk.add_done_callback(talks.discard)

    server = await asyncio.start_server(begin, sock=standby.listener, backlog=LEAST_BACKLOG, limit=HEAD_LIMIT)
    try:
        yield
    finally:
        server.close()
        if talks:
            await asyncio.wait(talks)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, detail: str) -> None:
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(LIMIT):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(detail, headless=head.startswith(b"HEAD ")))
            writer.write_eof()
            while await reader.read(HEAD_LIMIT):
                pass  # a connection that is closed with something unread may take the answer along
    writer.transport.abort()


def answer(detail: str, *, headless: bool) -> bytes:
    body = json.dumps({"title": "Service Unavailable", "status": 503, "detail": detail}).encode()
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        f"Retry-After: {RETRY_AFTER}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + (b"" if headless else body)
