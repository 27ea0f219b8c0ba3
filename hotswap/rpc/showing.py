"""A client's token, shown with each call that a blocking channel makes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from hotswap.rpc.callers import credentials

if TYPE_CHECKING:
    UnaryUnary = grpc.UnaryUnaryClientInterceptor[Any, Any]
    UnaryStream = grpc.UnaryStreamClientInterceptor[Any, Any]
    StreamUnary = grpc.StreamUnaryClientInterceptor[Any, Any]
    Call = Callable[[grpc.ClientCallDetails, Any], Any]
else:  # generic for the type checker only
    UnaryUnary = grpc.UnaryUnaryClientInterceptor
    UnaryStream = grpc.UnaryStreamClientInterceptor
    StreamUnary = grpc.StreamUnaryClientInterceptor
    Call = Callable[..., Any]


class _Details(NamedTuple):
    """gRPC asks for an object with these, and makes its own from a class that is private."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class Showing(UnaryUnary, UnaryStream, StreamUnary):
    def __init__(self, token: str) -> None:
        self._credentials = credentials(token)

    def intercept_unary_unary(self, continuation: Call, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_token(client_call_details), request)

    def intercept_unary_stream(self, continuation: Call, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_token(client_call_details), request)

    def intercept_stream_unary(self, continuation: Call, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._with_token(client_call_details), request_iterator)

    def _with_token(self, details: Any) -> Any:
        return _Details(
            method=details.method,
            timeout=details.timeout,
            metadata=(*(details.metadata or ()), *self._credentials),
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
            compression=details.compression,
        )
