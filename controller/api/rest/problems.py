"""What went wrong as a problem document (RFC 9457): the one place where a kind of error becomes a status.

Nothing is told of a fault of ours but that it happened; the log has it, under the id that the document names.
"""

import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from hotswap import errors
from hotswap.model import Model, encode

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
TYPE = "urn:hotswap:problem:"
REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""Of the request that is being answered; problem documents and the log name it."""
REQUEST_ID_HEADER = "Hotswap-Request-Id"
URI = "/%:@!$&'()*+,;=-._~"
"""What stands in a path unquoted (RFC 3986)."""
RETRY_AFTER = "2"
"""Seconds: a store or a leader that is away is followed by another within some of these."""


class Problem(Model, frozen=True, kw_only=True):
    """An answer other than what was asked for."""

    type: str
    """Names the kind of problem, for programs."""
    title: str
    status: int
    detail: str
    """What was wrong, and where."""
    hint: str = ""
    """The next command that would work, or what to change."""
    instance: str
    """The path of the request."""
    request_id: str


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    title: str
    status: HTTPStatus
    again: bool = False
    """The same request may be answered otherwise later."""


KINDS: tuple[tuple[type[errors.HotswapError], Kind], ...] = (
    (errors.Invalid, Kind("invalid", "The request is wrong", HTTPStatus.BAD_REQUEST)),
    (errors.Unauthenticated, Kind("unauthenticated", "Nobody knows who asks", HTTPStatus.UNAUTHORIZED)),
    (errors.Forbidden, Kind("forbidden", "Who asks may not do that", HTTPStatus.FORBIDDEN)),
    (errors.NotFound, Kind("not-found", "There is no such thing", HTTPStatus.NOT_FOUND)),
    (errors.Refused, Kind("refused", "The present state does not allow it", HTTPStatus.CONFLICT)),
    (errors.Outdated, Kind("outdated", "It has changed since", HTTPStatus.PRECONDITION_FAILED)),
    (errors.Conflict, Kind("conflict", "Somebody else was faster", HTTPStatus.CONFLICT, again=True)),
    (errors.NotLeader, Kind("unavailable", "Not at the moment", HTTPStatus.SERVICE_UNAVAILABLE, again=True)),
    (errors.Unavailable, Kind("unavailable", "Not at the moment", HTTPStatus.SERVICE_UNAVAILABLE, again=True)),
)


HEADERS = {
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": RETRY_AFTER},
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
}
"""That go with a status (RFC 9110 sections 10.2.3 and 11.6.1)."""


class Unfit(errors.HotswapError):
    """A fault of the request that HTTP has a status of its own for."""

    def __init__(
        self, status: HTTPStatus, message: str, *, hint: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer as it is sent, and kept for whoever asks the same again."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    final: bool = True
    """Asking again gives no other; only such an answer is kept."""

    def response(self) -> web.Response:
        return web.Response(status=self.status, body=self.body, headers=self.headers)


def where(request: web.BaseRequest) -> dict[str, str]:
    """What `rendered` says of a request."""
    path = request.raw_path.partition("?")[0]
    return {
        "instance": quote(path, safe=URI, errors="replace"),
        "request_id": REQUEST_ID.get(),
    }


def rendered(error: BaseException, *, instance: str, request_id: str) -> Rendered:
    """The problem document of whatever was raised."""
    kind, headers = _classified(error)
    message, hint = _told(error, kind.status)
    if kind.status is HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request %s failed by a fault of the controller", request_id, exc_info=error)
    problem = Problem(
        type=TYPE + kind.name,
        title=kind.title,
        status=kind.status,
        detail=_sendable(message),
        hint=_sendable(hint),
        instance=instance,
        request_id=request_id,
    )
    fields = {"Content-Type": CONTENT_TYPE, **headers}
    return Rendered(kind.status, encode(problem) + b"\n", fields, final=not kind.again)


def _sendable(text: str) -> str:
    """A header that is not UTF-8 may be quoted in it."""
    return text.encode(errors="replace").decode()


def _classified(error: BaseException) -> tuple[Kind, dict[str, str]]:
    """Its kind, and the header fields that go with it."""
    match error:
        case Unfit(status=status, headers=headers):
            return _of_status(status), headers
        case errors.HotswapError() if kind := next((kind for of, kind in KINDS if isinstance(error, of)), None):
            return kind, HEADERS.get(kind.status, {})
        case web.HTTPException(status=status):
            return _of_status(HTTPStatus(status)), _kept(error)
        case LineTooLong():
            return _of_status(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), {}
        case BadHttpMessage() | web.RequestPayloadError() | aiohttp.ClientPayloadError() | ConnectionError():
            return _of_status(HTTPStatus.BAD_REQUEST), {}
        case _:
            return _of_status(HTTPStatus.INTERNAL_SERVER_ERROR), {}


def _of_status(status: HTTPStatus) -> Kind:
    return Kind(status.phrase.lower().replace(" ", "-"), status.phrase, status, again=True)


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def _told(error: BaseException, status: HTTPStatus) -> tuple[str, str]:
    """What is wrong, and a hint."""
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return "the controller failed; its log says why", ""
    match error:
        case errors.HotswapError(message=message, hint=hint):
            return message, hint
        case web.HTTPMethodNotAllowed(allowed_methods=allowed):
            return f"{error.method} is not a method of this", f"it takes {', '.join(sorted(allowed))}"
        case web.HTTPNotFound():
            return "there is nothing at this path", "/api/v1/openapi.json has all paths"
        case web.HTTPException():
            return status.description or status.phrase, ""
    return "the request is not HTTP/1.1 as RFC 9112 has it, or is not whole", ""
