"""What receives notices in tests: an HTTP server on a real socket that answers each hook as the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.conditions import eventually


@dataclass(frozen=True)
class Got:
    hook: str
    id: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass
class Receiver:
    """A hook's URL ends with its name."""

    address: str = ""
    got: list[Got] = field(default_factory=list)
    """In the order in which they came, those too that were not taken."""
    answers: dict[str, list[int]] = field(default_factory=dict)
    """By hook, the statuses of its next answers; 200 when there are none left."""
    hanging: set[str] = field(default_factory=set)
    """Hooks that are not answered."""
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What happens between the arrival of a notice and the answer."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, hook: str) -> str:
        return f"http://{self.address}/{hook}"

    def ids(self, hook: str) -> list[str]:
        return [one.id for one in self.got if one.hook == hook]

    def told(self, hook: str) -> list[tuple[str, str | None, str]]:
        """Deployment, status before and status of all that came."""
        bodies = [one.body for one in self.got if one.hook == hook]
        return [(body["deployment"], body["previousStatus"], body["status"]) for body in bodies]

    async def has(self, hook: str, count: int) -> list[str]:
        """The ids, when so many came."""
        await eventually(lambda: len(self.ids(hook)) >= count)
        return self.ids(hook)

    async def take(self, request: web.Request) -> web.Response:
        hook = request.match_info["hook"]
        headers = dict(request.headers)
        self.got.append(Got(hook, headers["Hotswap-Notice"], headers, await request.read()))
        if self.meanwhile:
            await self.meanwhile()
        if hook in self.hanging:
            await self.over.wait()
        left = self.answers.get(hook)
        status = left.pop(0) if left else 200
        location = {"Location": self.url("elsewhere")} if status in range(300, 400) else {}
        return web.Response(status=status, headers=location, text="x" * 100_000)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{hook}", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        receiver.address = f"{host}:{port}"
        yield receiver
    finally:
        receiver.over.set()
        await runner.cleanup()
