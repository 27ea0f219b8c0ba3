"""Reads a request into a typed call: path, query, headers and body. Whatever is wrong in form is refused here."""

import asyncio
import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from aiohttp import web
from msgspec import inspect, json

from controller.api.rest.problems import Unfit
from controller.api.rest.route import AnyRoute
from hotswap.errors import Invalid
from hotswap.model import Model, decode

LARGEST_DOCUMENT = 1024 * 1024
"""Bytes that a body of JSON may have."""
SILENCE_LIMIT = 30.0
"""Seconds without a byte of the body after which it is given up."""

STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
ENTITY_TAG = re.compile(r'(?P<weak>W/)?"(?P<tag>[\x21\x23-\x7e]*)"')
"""RFC 9110, section 8.8.3, in ASCII."""
REVISION = re.compile(r"[1-9][0-9]{0,17}")
NEVER = -1
"""No key stands at this revision."""
TRUTHS = {"true": True, "false": False}


def check_target(target: str) -> None:
    """The path and query as they came; what does not decode names nothing."""
    if not target.isascii() or STRAY_PERCENT.search(target):
        raise Invalid("the path or the query is not percent-encoded as RFC 3986 has it", hint="write % itself as %25")
    try:
        unquote_to_bytes(target).decode()
    except UnicodeDecodeError:
        raise Invalid("the path or the query is not UTF-8 once it is decoded") from None


def parameters(route: AnyRoute, request: web.Request) -> Model:
    """Of the path and of the query, as the route has them; a name that it does not have is refused."""
    kind = inspect.type_info(route.parameters)
    assert isinstance(kind, inspect.StructType)
    types = {field.encode_name: field.type for field in kind.fields}
    given: dict[str, Any] = {}
    for name, text in (*request.match_info.items(), *request.query.items()):
        if name not in types:
            raise Invalid(f'there is no parameter "{name}"', hint=_known(types))
        if name in given:
            raise Invalid(f'the parameter "{name}" is given twice')
        given[name] = _value(text, types[name])
    found: Model = decode(json.encode(given), route.parameters, where="the request's parameters")
    return found


def _known(names: Collection[str]) -> str:
    return f"the parameters are: {', '.join(names)}" if names else "there are none"


def _value(text: str, kind: inspect.Type) -> str | int | bool:
    """The text as what it stands for; left as it is where it stands for nothing of that type, to be refused."""
    if isinstance(kind, inspect.BoolType):
        return TRUTHS.get(text, text)
    if isinstance(kind, inspect.IntType) and WHOLE_NUMBER.fullmatch(text):
        return int(text)
    return text


def expected(request: web.Request) -> int | None:
    """The revision of `If-Match`: `NEVER` for a tag that is none of ours, or a weak one."""
    text = request.headers.get("If-Match")
    if text is None:
        return None
    found = ENTITY_TAG.fullmatch(text)
    if not found:
        raise Invalid(
            "the header If-Match is not one entity tag", hint='send the ETag of the last answer, for example "812"'
        )
    if found["weak"] or not REVISION.fullmatch(found["tag"]):
        return NEVER
    return int(found["tag"])


async def document(route: AnyRoute, request: web.Request) -> tuple[Model, bytes]:
    """The body as the route's type, and as it came."""
    check_media_type(request, ("application/json",), has_body=not route.body_optional or request.body_exists)
    content = await _content(request)
    if not content and route.body_optional:
        return route.body(), content
    return decode(content, route.body, where="the body"), content


def check_media_type(request: web.Request, allowed: tuple[str, ...], *, has_body: bool) -> None:
    """A body is taken only as what it is said to be: a form in a browser can send none of these types unasked."""
    told = request.headers.get("Content-Type", "")
    fits = told and request.content_type in allowed and (request.charset or "utf-8").lower() == "utf-8"
    if has_body and not fits:
        wanted = " or ".join(allowed)
        raise Unfit(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f'the body is sent as "{told}"; it must be {wanted}',
            hint=f"add the header Content-Type: {allowed[0]}",
            headers={"Accept": ", ".join(allowed)},
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Unfit(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body is encoded for the transfer",
            hint="send it without a Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )


async def _content(request: web.Request) -> bytes:
    if (request.content_length or 0) > LARGEST_DOCUMENT:
        raise too_large(LARGEST_DOCUMENT)
    content = bytearray()
    while chunk := await next_chunk(request):
        content += chunk
        if len(content) > LARGEST_DOCUMENT:
            raise too_large(LARGEST_DOCUMENT)
    return bytes(content)


async def next_chunk(request: web.Request) -> bytes:
    """Empty at the end; raises `Unfit` when nothing comes."""
    try:
        async with asyncio.timeout(SILENCE_LIMIT):
            return await request.content.readany()
    except TimeoutError:
        raise Unfit(
            HTTPStatus.REQUEST_TIMEOUT,
            f"no byte of the body came for {SILENCE_LIMIT:g} s",
            hint="send it again",
            headers={"Connection": "close"},
        ) from None


def too_large(limit: int) -> Unfit:
    return Unfit(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than the {limit} bytes that are taken")
