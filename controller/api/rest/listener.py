"""REST's listener: connections of aiohttp's, on which nothing is answered but documents of ours.

A caller that goes away ends what was done for it, but for mutations (`underway`). When the server ends, streams end
first, and mutations get some time.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from controller.access import Parts
from controller.api.aws import app as aws
from controller.api.aws.callers import Callers
from controller.api.rest import caller, reading
from controller.api.rest.app import Application
from controller.api.rest.once import Once
from controller.api.rest.problems import REQUEST_ID, REQUEST_ID_HEADER, rendered, where
from controller.api.rest.route import Api
from controller.api.rest.underway import Underway
from controller.means import Clock
from hotswap.auth import Anybody, Authenticator
from hotswap.aws_keys import AccessKeys
from hotswap.errors import Unavailable
from hotswap.settings import host_and_port
from hotswap.store import Store

KEEP_ALIVE_LIMIT = 75.0
"""Seconds that a connection may be idle between requests."""
CLOSING = 5.0
"""Seconds that requests in progress get to end."""

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp could not read the request."""
        _begin()
        response = rendered(exc or AssertionError(message), **where(request)).response()
        response.force_close()
        return response


class Connections(web.Server):
    def __init__(self, answering: Answering, request_factory: Callable[..., web.BaseRequest]) -> None:
        super().__init__(answering, request_factory=request_factory, handler_cancellation=True)

    def __call__(self) -> Connection:
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE_LIMIT,
            access_log=None,  # type: ignore[arg-type] # as aiohttp takes it: no log
            auto_decompress=False,
        )


class Runner(web.AppRunner):
    """Has all that the application raises answered by problem documents, aiohttp's own refusals too."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()

        async def answering(request: web.BaseRequest) -> web.StreamResponse:
            return await _answered(request, made.request_handler)

        return Connections(answering, made.request_factory)


def _begin() -> None:
    REQUEST_ID.set(secrets.token_hex(8))


async def _answered(request: web.BaseRequest, handler: Answering) -> web.StreamResponse:
    _begin()
    try:
        reading.check_target(request.raw_path)
        response = await handler(request)
    except Exception as error:  # whatever it is, it is told as a problem document, and a fault of ours is logged
        response = rendered(error, **where(request)).response()
    if not response.prepared:
        response.headers.setdefault(REQUEST_ID_HEADER, REQUEST_ID.get())
    return response


@asynccontextmanager
async def listening(
    bind: str, *, parts: Parts, authenticator: Authenticator, keys: AccessKeys, store: Store, clock: Clock
) -> AsyncIterator[str]:
    """Answers until the context ends; gives the address. Raises `Unavailable` when it cannot be bound."""
    ending, underway = asyncio.Event(), Underway()
    api = Api(authenticate=partial(caller.of, authenticator=authenticator), ending=ending)
    made = Application(api=api, parts=parts, once=Once(store), underway=underway)
    callers = Callers(keys, api.authenticate, open=isinstance(authenticator, Anybody), clock=clock)
    async with aws.lambda_interface(store=store, parts=parts, callers=callers, underway=underway) as interface:
        made.app.router.add_route("*", aws.PATHS, interface.handle)
        runner = Runner(made.app, shutdown_timeout=CLOSING)
        await runner.setup()
        try:
            yield await _bound(runner, bind)
        finally:
            ending.set()
            await runner.cleanup()
            await underway.end(CLOSING)


async def _bound(runner: Runner, bind: str) -> str:
    host, port = host_and_port(bind, option="rest")
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise Unavailable(f"{bind} cannot be bound: {error}", hint="is another process there?") from error
    found = runner.addresses[0][1]
    return f"[{host}]:{found}" if ":" in host else f"{host}:{found}"
