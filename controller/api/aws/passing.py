"""Signed mutations at a controller that does not lead: the whole request goes on to the one that does.

A caller who signs has no token that could be passed on, and nobody is believed who says that they ask for somebody
else. So the request is sent as it came, and the leader checks its signature as if it had come there first.
"""

import aiohttp
from aiohttp import web
from yarl import URL

from controller.access import Parts
from controller.api.aws.faults import unavailable
from controller.api.leader import PASSED_ON, PASSING_LIMIT

HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "upgrade", "te", "trailer"}
)
"""Of one connection alone; the body has been read whole."""
LIMIT = aiohttp.ClientTimeout(total=PASSING_LIMIT, sock_connect=5)


class Passing:
    def __init__(self, *, session: aiohttp.ClientSession, parts: Parts) -> None:
        self._session = session
        self._parts = parts

    @property
    def needed(self) -> bool:
        return not self._parts.weights.here

    async def answer(self, request: web.Request, body: bytes) -> web.Response:
        """The leader's. Raises `Fault`."""
        leader = (await self._parts.service.platform()).leader
        if leader is None or PASSED_ON in request.headers:
            raise unavailable("no controller leads at the moment", hint="try again in some seconds")
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP]
        url = URL(f"http://{leader.rest}{request.raw_path}", encoded=True)
        try:
            async with self._session.request(
                request.method, url, data=body, headers=[*headers, (PASSED_ON, "1")], timeout=LIMIT
            ) as answer:
                told = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
                return web.Response(status=answer.status, body=await answer.read(), headers=told)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unavailable(f"the leading controller does not answer: {type(error).__name__}") from error
