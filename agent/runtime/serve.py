"""Imports the function, serves it with uvicorn on the inherited socket, and tells the agent when it is ready.

SIGTERM ends it: no new connections, what is in flight is finished, then exit code 0. How long that may take is the
agent's decision.
"""

import asyncio
import importlib
import inspect
import logging
import signal
import socket
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from types import ModuleType
from typing import Any, NoReturn

import uvicorn
import uvicorn.lifespan.off
import uvicorn.lifespan.on
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .due import Dues, within_limit
from .handler import HandlerApp, Receive, Send
from .load import Load, counted
from .order import Order
from .printing import printed_by, taken
from .ready import Report

KEEP_ALIVE = 3600
"""Seconds that an idle connection is kept: longer than a router keeps it, so that only the router ends one."""
BACKLOG = 1024
REQUEST_ID = b"hotswap-request-id"

App = Callable[[Any, Receive, Send], Awaitable[None]]


def run(order: Order) -> None:
    with taken():
        _run(order, Report(order.ready), Load(order.load))


def _run(order: Order, report: Report, load: Load) -> None:
    prepare = PREPARE[order.kind]()
    started = time.perf_counter()
    sys.path[:0] = [order.code, order.packages] if order.packages else [order.code]
    try:
        module, entrypoint = _load(order.entrypoint)
    except BaseException as error:
        report.failed(error, what=f'the entrypoint "{order.entrypoint}" cannot be imported')
    imported = _since(started)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(order, prepare, module, entrypoint, report, load, imported))


def _load(entrypoint: str) -> tuple[ModuleType, Any]:
    name, attribute = entrypoint.split(":")
    module = importlib.import_module(name)
    found = attrgetter(attribute)(module)
    if not callable(found):
        raise TypeError(f"{entrypoint} is a {type(found).__name__}, which cannot be called")
    return module, found


async def _serve(
    order: Order,
    prepare: "Prepare",
    module: ModuleType,
    entrypoint: Any,
    report: Report,
    load: Load,
    import_seconds: float,
) -> None:
    started = time.perf_counter()
    dues = Dues(load, limit=order.timeout, most=order.concurrency)
    try:
        app = await prepare(module, entrypoint, order, dues)
    except BaseException as error:
        report.failed(error, what="init(context) failed")
    config = uvicorn.Config(
        counted(_told(app), load),
        http=HttpToolsProtocol,
        lifespan="auto" if order.kind == "asgi" else "off",
        log_level="warning",
        access_log=False,
        server_header=False,
        forwarded_allow_ips="*",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
    )
    logging.getLogger("uvicorn.error").addHandler(said := Said())

    def ready() -> None:
        load.ready()
        report.ready(import_seconds=import_seconds, init_seconds=_since(started))

    server = Server(
        config,
        dues,
        on_ready=ready,
        on_refused=lambda: report.failed(StartupRefused(said.text), what="the application refused to start"),
    )
    await server.serve(sockets=[socket.socket(fileno=order.socket)])


def _told(app: App) -> App:
    """What the application prints is told with the invocation that it prints it for."""

    async def told(scope: Any, receive: Receive, send: Send) -> None:
        with printed_by(_request_id(scope)):
            await app(scope, receive, send)

    return told


def _request_id(scope: Any) -> str:
    """Empty for what is no request, or has not come through a router."""
    found = (value for name, value in scope.get("headers", ()) if name == REQUEST_ID)
    return next(found, b"").decode("latin-1")


class StartupRefused(Exception):
    """The application said on its lifespan channel that it cannot start."""


class Said(logging.Handler):
    """What uvicorn logs as an error; that is where it tells what an application said on its lifespan channel."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = f"{self.text}\n{record.getMessage()}".strip()


class Server(uvicorn.Server):
    """Tells when it takes requests; and leaves with exit code 0 where uvicorn would die of the signal it was sent."""

    def __init__(
        self, config: uvicorn.Config, dues: Dues, *, on_ready: Callable[[], None], on_refused: Callable[[], NoReturn]
    ) -> None:
        super().__init__(config)
        self._dues = dues
        self._on_ready = on_ready
        self._on_refused = on_refused

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            self._on_refused()
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        self._dues.look()
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True


Prepare = Callable[[ModuleType, Any, Order, Dues], Awaitable[App]]


def _handler() -> Prepare:
    async def prepare(module: ModuleType, entrypoint: Any, order: Order, dues: Dues) -> App:
        app = HandlerApp(entrypoint, order, dues)
        init = getattr(module, "init", None)
        if callable(init):
            value = init(app.context(str(uuid.uuid4()), time.monotonic()))
            if inspect.isawaitable(value):
                await value
        return app

    return prepare


def _asgi() -> Prepare:
    async def prepare(_module: ModuleType, entrypoint: Any, _order: Order, dues: Dues) -> App:
        return within_limit(entrypoint, dues, threads=False)

    return prepare


def _wsgi() -> Prepare:
    from a2wsgi import WSGIMiddleware  # costs time that the other kinds need not spend

    async def prepare(_module: ModuleType, entrypoint: Any, order: Order, dues: Dues) -> App:
        return within_limit(WSGIMiddleware(entrypoint, workers=order.concurrency), dues, threads=True)

    return prepare


PREPARE: dict[str, Callable[[], Prepare]] = {"handler": _handler, "asgi": _asgi, "wsgi": _wsgi}
"""By kind: called before the function's folder is on the import path, it imports what the kind needs."""


def _since(started: float) -> float:
    return time.perf_counter() - started
