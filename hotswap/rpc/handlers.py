"""Handlers of gRPC methods with something put around them; the base of our interceptors."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
else:  # generic for the type checker only
    Interceptor = grpc.aio.ServerInterceptor
    Handler = grpc.RpcMethodHandler

Wrap = Callable[[Any], Any]
"""From what handles calls to what handles them instead."""


class Wrapping(Interceptor):
    """Puts `single` around methods with one answer, `stream` around those with many."""

    def __init__(self, *, single: Wrap, stream: Wrap) -> None:
        self._single = single
        self._stream = stream

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(details)
        if not handler:  # no such method: grpc answers UNIMPLEMENTED
            return handler
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        inner = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream
        wrapped = self._stream(inner) if handler.response_streaming else self._single(inner)
        return make(wrapped, handler.request_deserializer, handler.response_serializer)
