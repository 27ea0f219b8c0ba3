"""Streams of server-sent events: what all of them keep to, whatever they tell."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from aiohttp import web

from controller.api.rest.problems import REQUEST_ID, REQUEST_ID_HEADER
from controller.api.rest.route import Api
from hotswap.errors import HotswapError

log = logging.getLogger(__name__)

T = TypeVar("T")

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The last keeps nginx from holding events back."""
HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that nobody between takes the connection for dead."""
STILL_HERE = ": still here\n\n"
WRITE_LIMIT = 30.0
"""Seconds that a client may take nothing."""
STREAM_LIMIT = 3600.0
"""Seconds for one stream; a client that comes back for more is asked anew who it is."""
RESUME_AFTER = 1000
"""Milliseconds after which a client that lost the connection comes back."""


class CutOff(Exception):
    """The stream ends before what it tells of does."""

    def __str__(self) -> str:
        return "its time is over, or the controller stops"


def wanted(request: web.Request) -> bool:
    """Whether a stream is asked for where there is a list too."""
    return MEDIA_TYPE in request.headers.get("Accept", "") and request.method == "GET"


async def told(api: Api, request: web.Request, texts: AsyncGenerator[str, None], *, of: str) -> web.StreamResponse:
    """The texts as they come, for as long as the client may and can have them."""
    response = web.StreamResponse(headers={**HEADERS, REQUEST_ID_HEADER: REQUEST_ID.get()})
    await response.prepare(request)
    try:
        async with aclosing(texts):
            await _write(response, f"retry: {RESUME_AFTER}\n\n")
            async for text in texts:
                await api.authenticate(request)  # a token may be revoked meanwhile
                await _write(response, text)
    except (HotswapError, TimeoutError, ConnectionError, CutOff) as error:
        log.info("%s is not told any further: %s", of, error)
    return response


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(WRITE_LIMIT):
        await response.write(text.encode())


async def with_silence(coming: AsyncGenerator[T, None], ending: asyncio.Event) -> AsyncGenerator[T | None, None]:
    """What comes, and `None` for each `HEARTBEAT` without; raises `CutOff` at the limit and the server's end."""
    over = asyncio.create_task(asyncio.wait_for(ending.wait(), STREAM_LIMIT), name="stream is over")
    following: asyncio.Task[T | None] | None = None
    try:
        while not over.done():
            following = following or asyncio.create_task(_next(coming), name="next update")
            await asyncio.wait({following, over}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                one, following = following.result(), None
                if one is None:
                    return
                yield one
            elif not over.done():
                yield None
        raise CutOff
    finally:
        left = [task for task in (over, following) if task]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _next(coming: AsyncGenerator[T, None]) -> T | None:
    return await anext(coming, None)
