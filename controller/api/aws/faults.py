"""What went wrong, by AWS's codes and in AWS's shapes: the one place where a kind of error becomes one of them.

The codes are those of Lambda's service model, and the ones that all of AWS's services share.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import web
from msgspec import json

from hotswap import errors

log = logging.getLogger(__name__)

TYPE_HEADER = "X-Amzn-ErrorType"
REQUEST_ID = "X-Amzn-RequestId"
RETRY_AFTER = "2"
"""Seconds."""
NO_FIELDS: Mapping[str, str] = MappingProxyType({})
CAPITAL = frozenset({"ResourceNotFoundException", "ServiceException"})
"""Whose message is called `Message`; to the others it is `message`."""


class Fault(errors.HotswapError):
    """An error that has a code of AWS's of its own."""

    def __init__(
        self, code: str, message: str, *, status: int, hint: str = "", fields: Mapping[str, str] = NO_FIELDS
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
        self.fields = fields


def invalid(message: str, *, hint: str = "") -> Fault:
    return Fault("InvalidParameterValueException", message, status=400, hint=hint)


def not_covered(what: str) -> Fault:
    return invalid(f"{what} is not covered by HotSwap", hint="leave it out; docs/lambda.md says what is covered")


def missing(message: str, *, hint: str = "") -> Fault:
    return Fault("ResourceNotFoundException", message, status=404, hint=hint)


def conflict(message: str, *, hint: str = "") -> Fault:
    return Fault("ResourceConflictException", message, status=409, hint=hint)


def outdated(message: str, *, hint: str = "") -> Fault:
    return Fault("PreconditionFailedException", message, status=412, hint=hint)


def too_large(most: int, *, operation: str) -> Fault:
    message = f"Request must be smaller than {most} bytes for the {operation} operation"
    return Fault("RequestTooLargeException", message, status=413)


def busy(message: str, *, hint: str = "") -> Fault:
    return Fault("TooManyRequestsException", message, status=429, hint=hint, fields={"Retry-After": RETRY_AFTER})


def unavailable(message: str, *, hint: str = "") -> Fault:
    fields = {"Retry-After": RETRY_AFTER}
    return Fault("ServiceUnavailableException", message, status=503, hint=hint, fields=fields)


KINDS: tuple[tuple[type[errors.HotswapError], str, int], ...] = (
    (errors.Invalid, "InvalidParameterValueException", 400),
    (errors.Unauthenticated, "UnrecognizedClientException", 403),
    (errors.Forbidden, "AccessDeniedException", 403),
    (errors.NotFound, "ResourceNotFoundException", 404),
    (errors.Refused, "ResourceConflictException", 409),
    (errors.Conflict, "ResourceConflictException", 409),
    (errors.Outdated, "PreconditionFailedException", 412),
    (errors.NotLeader, "ServiceUnavailableException", 503),
    (errors.Unavailable, "ServiceUnavailableException", 503),
)


def fault_of(error: Exception) -> Fault:
    """Nothing is told of a fault of ours but that it happened; the log has it."""
    match error:
        case Fault():
            return error
        case errors.HotswapError(message=message, hint=hint):
            for kind, code, status in KINDS:
                if isinstance(error, kind):
                    return Fault(code, message, status=status, hint=hint)
            status = getattr(error, "status", HTTPStatus.BAD_REQUEST)  # a fault of the request's form
            return Fault("InvalidRequestContentException", message, status=status, hint=hint)
    log.error("a request to the interface of AWS Lambda failed by a fault of the controller", exc_info=error)
    return Fault("ServiceException", "the controller failed; its log says why", status=500)


def rendered(fault: Fault, *, request_id: str) -> web.Response:
    sender = fault.status < HTTPStatus.INTERNAL_SERVER_ERROR
    told = f"{fault.message}; {fault.hint}" if fault.hint else fault.message
    document = {"Type": "User" if sender else "Service", "Message" if fault.code in CAPITAL else "message": told}
    fields = {TYPE_HEADER: fault.code, REQUEST_ID: request_id, **fault.fields}
    body = json.encode({name: text.encode(errors="replace").decode() for name, text in document.items()})
    return web.Response(status=fault.status, body=body, headers=fields, content_type="application/json")
