"""The events of a deployment: as a list, and as a stream of server-sent events that can be resumed anywhere.

Events that came about together share a revision, so only the last of them has an `id`: a client that lost the
connection between them resumes before all of them, and knows by their numbers what it has had.
"""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from aiohttp import web

from controller.api.rest import documents, streaming
from controller.api.rest.deployments import OfDeployment
from controller.api.rest.route import Answer, Api, Call, Nothing
from controller.service import Update
from hotswap.errors import Invalid
from hotswap.model import encode

REVISION = re.compile(r"[0-9]{1,18}")


async def events(api: Api, call: Call[OfDeployment, Nothing]) -> Answer:
    found = await call.access.events(call.parameters.deployment)
    return Answer(documents.EventList(events=[documents.event(one) for one in found]))


async def if_asked(api: Api, call: Call[OfDeployment, Nothing], request: web.Request) -> web.StreamResponse | None:
    """At the list's path a stream is given to whoever accepts one."""
    last_event_id(request)
    return await stream(api, call, request) if streaming.wanted(request) else None


async def stream(api: Api, call: Call[OfDeployment, Nothing], request: web.Request) -> web.StreamResponse:
    """Until the deployment has ended, the client has gone or the controller stops; 204 when all was told before."""
    name, since = call.parameters.deployment, last_event_id(request)
    if since and await _all_told(call, name, since):
        return web.Response(status=204)
    await call.access.deployment(name)
    return await streaming.told(api, request, _texts(api, call, since), of=name)


async def _all_told(call: Call[OfDeployment, Nothing], name: str, since: int) -> bool:
    """A client that comes back for more of what has ended is told so, since it would come for ever."""
    deployment = (await call.access.deployment(name)).value
    told = all(event.mod_revision <= since for event in await call.access.events(name))
    return deployment.status.terminal and told


async def _texts(api: Api, call: Call[OfDeployment, Nothing], since: int) -> AsyncGenerator[str, None]:
    update: Update | None = None
    async with (
        aclosing(call.access.watch(call.parameters.deployment, since=since)) as updates,
        aclosing(streaming.with_silence(updates, api.ending)) as told,
    ):
        async for one in told:
            update = one or update
            yield "".join(_events(one)) if one else streaming.STILL_HERE
    if update:
        yield f"event: ended\ndata: {encode(documents.deployment(update.deployment)).decode()}\n\n"


def _events(update: Update) -> Iterator[str]:
    following = [event.mod_revision for event in update.told[1:]] + [0]
    for event, next_revision in zip(update.told, following, strict=False):
        last = event.mod_revision != next_revision
        identity = f"id: {event.mod_revision}\n" if last else ""
        yield f"{identity}data: {encode(documents.event(event)).decode()}\n\n"


def last_event_id(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "0")
    if not REVISION.fullmatch(text):
        raise Invalid("the header Last-Event-ID is no revision", hint="send the id of the last event as it came")
    return int(text)
