"""A handler as an ASGI application: `handler(event, context)`, sync in threads, async in the loop."""

import asyncio
import contextvars
import inspect
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from . import tail, traces
from .answers import Answer, answer_of, bad_event, exception
from .context import BadClientContext, Context, client_context
from .due import Dues
from .events import BadEvent, Request, event_of
from .order import Order

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Exited(Exception):
    """The handler called `sys.exit`, or raised what would end the process."""


class HandlerApp:
    def __init__(self, handler: Callable[..., Any], order: Order, dues: Dues) -> None:
        self._handler = handler
        self._order = order
        self._dues = dues
        self._asynchronous = _is_async(handler)
        self._threads = ThreadPoolExecutor(order.concurrency, thread_name_prefix="handler")

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        body = await _body(receive)
        if body is None:
            return
        answer = await self._answer(_request(scope, body), time.monotonic())
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.lines()})
        await send({"type": "http.response.body", "body": answer.body})

    def context(self, request_id: str, arrived: float, client: SimpleNamespace | None = None) -> Context:
        return Context(
            function_name=self._order.function,
            function_version=str(self._order.version),
            memory_limit_in_mb=self._order.memory,
            aws_request_id=request_id,
            deadline=arrived + self._order.timeout,
            client_context=client,
        )

    async def _answer(self, request: Request, arrived: float) -> Answer:
        request_id = request.header("hotswap-request-id") or str(uuid.uuid4())
        try:
            event = event_of(request, function=self._order.function, request_id=request_id, now=datetime.now(UTC))
            client = client_context(request.header("x-amz-client-context")) if request.invocation else None
        except (BadEvent, BadClientContext) as error:
            return bad_event(error)
        context = self.context(request_id, arrived, client)
        if not (request.invocation and request.header("x-amz-log-type") == "Tail"):
            return await self._answer_to(event, request, context)
        with tail.keeping(context) as kept:
            answer = await self._answer_to(event, request, context)
            return replace(answer, headers=[*answer.headers, kept.end()])

    async def _answer_to(self, event: Any, request: Request, context: Context) -> Answer:
        try:
            value = await self._call(event, context)
            return answer_of(value, invocation=request.invocation)
        except Exception as error:
            print(f"invocation {context.aws_request_id} failed:", *traces.of(error), sep="\n", file=sys.stderr)
            return exception(error, invocation=request.invocation)

    async def _call(self, event: Any, context: Context) -> Any:
        async with self._dues.turn() as since:
            if self._asynchronous:
                async with self._dues.due(since):
                    return await _awaited(self._handler(event, context))
            async with self._dues.in_thread():
                value = await self._in_thread(event, context)
            if not inspect.isawaitable(value):
                return value
            async with self._dues.due(since):
                return await _awaited(value)

    async def _in_thread(self, event: Any, context: Context) -> Any:
        run = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, run, _contained, self._handler, event, context)


async def _awaited(value: Awaitable[Any]) -> Any:
    """An exit that leaves a task ends the loop."""
    try:
        return await value
    except (SystemExit, KeyboardInterrupt) as error:
        raise Exited(f"the handler raised {error!r}") from None


def _contained(handler: Callable[..., Any], event: Any, context: Context) -> Any:
    """An exit inside of a handler ends the invocation, not the process."""
    try:
        return handler(event, context)
    except (SystemExit, KeyboardInterrupt) as error:
        raise Exited(f"the handler raised {error!r}") from None


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def _request(scope: Any, body: bytes) -> Request:
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        body=body,
        client=client[0] if client else "",
        http=scope.get("http_version", "1.1"),
    )


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or `None` when the client went away before its end."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
