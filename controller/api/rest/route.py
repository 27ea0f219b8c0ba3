"""What a route is: one row from which both the server and its OpenAPI document are made, so that they cannot differ."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Generic, TypeVar

from aiohttp import web

from controller.access import Access
from hotswap.auth import Caller
from hotswap.model import Model

PREFIX = "/api/v1"


class Nothing(Model, frozen=True, kw_only=True):
    """No parameters, or an empty body."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A body that is a .tar.gz: kept in a file until the answer is made."""

    path: Path
    sha256: str
    size: int
    uploaded: bool = False
    """It is in the controller's uploads, which verify it when it is published."""


P = TypeVar("P", bound=Model)
B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What the handlers work with."""

    authenticate: Callable[[web.Request], Awaitable[Caller]]
    """Raises `Unauthenticated`."""
    ending: asyncio.Event
    """Set when the server is about to stop, for streams to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[P, B]):
    """A request that was read and found right in form."""

    parameters: P
    """From the path and the query."""
    body: B
    access: Access
    """The operations, as the caller may use them."""
    expected: int | None = None
    """The revision of `If-Match`."""


@dataclass(frozen=True, slots=True)
class Answer:
    document: Model
    revision: int = 0
    """Becomes the `ETag`, where there is one."""
    location: str = ""
    """Below the prefix, for what was created."""


Handler = Callable[[Api, Call[P, B]], Awaitable[Answer]]
Streamer = Callable[[Api, Call[P, B], web.Request], Awaitable[web.StreamResponse | None]]
"""Answers by itself, or gives `None` where the caller did not ask for a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[P, B]):
    method: str
    path: str
    """Below the prefix, as in `/functions/{function}`."""
    name: str
    """The operation's, unique."""
    summary: str
    parameters: type[P]
    """Fields that the path does not name are the query's."""
    body: type[B]
    handler: Handler[P, B] | None = None
    answer: type[Model] = Nothing
    status: HTTPStatus = HTTPStatus.OK
    stream: Streamer[P, B] | None = None
    """Is asked before the handler, where there is one."""
    tagged: bool = False
    """The answer has an `ETag`."""
    conditional: bool = False
    """Takes `If-Match`."""
    body_optional: bool = False
    example: Mapping[str, object] | None = None
    """A body, as the guide has it."""
    refuses: frozenset[HTTPStatus] = frozenset()
    """Statuses beside those that follow from the rest of the row."""

    @property
    def changes(self) -> bool:
        """Whether it is a mutation, which takes an `Idempotency-Key` and goes on when its caller goes away."""
        return self.method != "GET"

    @property
    def has_body(self) -> bool:
        return self.body is not Nothing

    @property
    def problems(self) -> frozenset[HTTPStatus]:
        """The statuses with which it may be answered other than as asked."""
        found = {
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.SERVICE_UNAVAILABLE,
            *self.refuses,
        }
        if "{" in self.path:
            found.add(HTTPStatus.NOT_FOUND)
        if self.changes:
            found |= {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
        if self.conditional:
            found.add(HTTPStatus.PRECONDITION_FAILED)
        if self.has_body:
            found |= {
                HTTPStatus.REQUEST_TIMEOUT,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            }
        return frozenset(found)


AnyRoute = Route[Any, Any]
