"""What every gRPC service and client of ours has in common: health, reflection, and how an error crosses the wire.

A service raises the errors of `hotswap.errors`; the interceptor turns each into a status whose details are the message
and the hint. `calling` turns that back into the same error on the other side. Anything else that a service raises is a
fault of ours: it is logged with its traceback, and the caller is told only that it happened.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from hotswap import errors
from hotswap.auth import Authenticator
from hotswap.rpc.callers import Callers
from hotswap.rpc.handlers import Wrapping

log = logging.getLogger(__name__)

SEPARATOR = "\n"
"""Between message and hint in the details of a status."""

CODES: tuple[tuple[type[errors.HotswapError], grpc.StatusCode], ...] = (
    (errors.Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.Refused, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Conflict, grpc.StatusCode.ABORTED),
    (errors.Outdated, grpc.StatusCode.ALREADY_EXISTS),  # a newer revision does
    (errors.NotLeader, grpc.StatusCode.OUT_OF_RANGE),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
)

OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
"""A peer that hangs is noticed within 15 s, one that is back is reached within 1 s."""


class Errors(Wrapping):
    """Turns the errors of `hotswap.errors` into statuses."""

    def __init__(self) -> None:
        super().__init__(single=_single, stream=_stream)


def _single(inner: Any) -> Any:
    async def call(request: Any, context: Any) -> Any:
        try:
            return await inner(request, context)
        except Exception as error:
            await _abort(context, error)

    return call


def _stream(inner: Any) -> Any:
    async def call(request: Any, context: Any) -> Any:
        try:
            async for message in inner(request, context):
                yield message
        except Exception as error:
            await _abort(context, error)

    return call


async def _abort(context: Any, error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, errors.HotswapError):
        code = next(code for kind, code in CODES if isinstance(error, kind))
        await context.abort(code, error.message + (SEPARATOR + error.hint if error.hint else ""))
    log.error("a call failed by a fault of the service", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "the service failed; its log says why")
    raise AssertionError("abort raises")


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Around calls to a service: raises the error that the service raised, or `Unavailable` naming `what`."""
    try:
        yield
    except grpc.RpcError as error:
        message, _, hint = (error.details() or "").partition(SEPARATOR)
        for kind, code in CODES:
            if error.code() == code and kind is not errors.Unavailable:
                raise kind(message, hint=hint) from error
        raise errors.Unavailable(f"{what} does not answer: {message}", hint=hint) from error


def channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=list(OPTIONS))


def blocking_channel(address: str) -> grpc.Channel:
    """For a program that does one thing at a time, the command line."""
    return grpc.insecure_channel(address, options=list(OPTIONS))


async def start(
    address: str,
    services: dict[str, Callable[[grpc.aio.Server], None]],
    *,
    authenticator: Authenticator | None = None,
) -> tuple[grpc.aio.Server, int]:
    """Serves on `host:port` (0: any) with health and reflection; `services` maps full names to what registers them.

    An authenticator lets callers in to all but those two. Returns the server and its port. Raises `Unavailable` when
    the address cannot be bound.
    """
    interceptors = [Errors(), *([Callers(authenticator)] if authenticator else [])]
    server = grpc.aio.server(interceptors=interceptors, options=list(OPTIONS))
    for register in services.values():
        register(server)
    checker = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise errors.Unavailable(f"{address} cannot be bound: {error}", hint="is another process there?") from error
    await server.start()
    for name in ("", *services):
        await checker.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, port
