"""What a function's instances printed: what is kept as a list, and what comes as a stream of server-sent events.

The id of a line is its time in milliseconds, and a client that lost the connection is told what came after that. So of
lines in the same millisecond it may miss some.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web

from controller.api.rest import documents, streaming
from controller.api.rest.events import last_event_id
from controller.api.rest.route import Answer, Api, Call, Nothing
from controller.api.rest.sending import OfFunction
from controller.logs import A_MOMENT, MOST, LogEntry, LogsWanted, Told
from hotswap.model import encode

MILLISECONDS = 1000


class OfLogs(OfFunction, frozen=True, kw_only=True):
    qualifier: str = ""
    """An alias or a version; empty for all versions."""
    tail: Annotated[int, msgspec.Meta(ge=0, le=MOST)] = 100
    """The last so many lines of what is kept."""
    since: datetime | None = None
    request: str = ""
    """Only lines of the invocation with this id."""


async def find(api: Api, call: Call[OfLogs, Nothing]) -> Answer:
    lines, missing = [], []
    async with aclosing(await call.access.logs(_wanted(call.parameters))) as told:
        async for one in told:
            if isinstance(one, LogEntry):
                lines.append(documents.log_line(one))
            else:
                missing.append(one.text)
    return Answer(documents.LogLines(lines=lines, missing=missing))


async def if_asked(api: Api, call: Call[OfLogs, Nothing], request: web.Request) -> web.StreamResponse | None:
    """At the list's path a stream is given to whoever accepts one."""
    since = last_event_id(request) / MILLISECONDS
    return await _stream(api, call, request, since) if streaming.wanted(request) else None


async def _stream(api: Api, call: Call[OfLogs, Nothing], request: web.Request, after: float) -> web.StreamResponse:
    """Until the client has gone, the controller stops, or an hour has passed."""
    wanted = _wanted(call.parameters, after=after, follow=True)
    async with aclosing(await call.access.logs(wanted)) as told:
        return await streaming.told(api, request, _texts(told, api), of=f"the output of {wanted.function}")


async def _texts(told: AsyncGenerator[Told, None], api: Api) -> AsyncGenerator[str, None]:
    async with aclosing(streaming.with_silence(told, api.ending)) as coming:
        async for one in coming:
            yield _text(one) if one else streaming.STILL_HERE


def _text(one: Told) -> str:
    if isinstance(one, LogEntry):
        identity = int(one.at * MILLISECONDS)
        return f"id: {identity}\ndata: {encode(documents.log_line(one)).decode()}\n\n"
    return f"event: missing\ndata: {encode(documents.Missing(text=one.text)).decode()}\n\n"


def _wanted(told: OfLogs, *, after: float = 0.0, follow: bool = False) -> LogsWanted:
    since = told.since.timestamp() if told.since else 0.0
    return LogsWanted(
        function=told.function,
        qualifier=told.qualifier,
        tail=MOST if after else told.tail,
        since=max(since, after + A_MOMENT if after else 0.0),
        request=told.request,
        follow=follow,
    )
