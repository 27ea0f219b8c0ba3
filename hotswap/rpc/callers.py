"""Who makes a gRPC call: told by its metadata, checked before its handler runs, known to the handler as `caller()`.

Health and reflection stay open: they tell nothing but that the service is there. A stream is checked again before each
message of the answer, so that it ends when its token is revoked or expires.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc

from hotswap.auth import Authenticator, Caller, header_of
from hotswap.rpc.handlers import Handler, Wrapping

WHO = "hotswap-who"
"""Metadata in which a caller says who asks, for the record."""
AUTHORIZATION = "authorization"
OPEN = ("/grpc.health.", "/grpc.reflection.")

Metadata = tuple[tuple[str, str], ...]

_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who made the call that is handled now; there is nobody in a service that was started without authenticator."""
    return _caller.get()


def credentials(token: str) -> Metadata:
    """Metadata of a call that shows a token; of none when it is empty."""
    return ((AUTHORIZATION, header_of(token)),) if token else ()


def as_caller(original: Caller) -> Metadata:
    """Metadata of a call that is passed on: the receiver checks the same token again, so nothing has to be believed."""
    shown = ((AUTHORIZATION, original.authorization),) if original.authorization else ()
    return ((WHO, original.claimed), *shown)


def told(context: Any) -> dict[str, str]:
    """The metadata of a call."""
    return {str(key): str(value) for key, value in context.invocation_metadata() or ()}


class Callers(Wrapping):
    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        super().__init__(single=self._checked, stream=self._checked_stream)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        details: grpc.HandlerCallDetails,
    ) -> Handler:
        if details.method.startswith(OPEN):
            return await continuation(details)
        return await super().intercept_service(continuation, details)

    def _checked(self, inner: Any) -> Any:
        async def call(request: Any, context: Any) -> Any:
            _caller.set(await self._authenticate(context))
            return await inner(request, context)

        return call

    def _checked_stream(self, inner: Any) -> Any:
        async def call(request: Any, context: Any) -> Any:
            _caller.set(await self._authenticate(context))
            async for message in inner(request, context):
                await self._authenticate(context)
                yield message

        return call

    async def _authenticate(self, context: Any) -> Caller:
        metadata = told(context)
        return await self._authenticator.authenticate(metadata.get(AUTHORIZATION), claimed=metadata.get(WHO, ""))
