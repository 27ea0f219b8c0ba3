"""From what a handler returned, or raised, to an HTTP answer; by the rules of AWS Lambda's function URLs.

A dict with `statusCode` is a whole answer, a text is the body as it stands, anything else is JSON. An invocation (see
`events.INVOCATION_PATH`) is answered by the value as JSON, whatever it is.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import traces

JSON_TYPE = ("content-type", "application/json")
EXCEPTION = ("hotswap-error", "exception")
"""Tells the router that a 500 is an exception; it does not reach the client."""
UNHANDLED = ("x-amz-function-error", "Unhandled")
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110, 5.6.2: token."""
HEADER_VALUE = re.compile(r"[^\x00\r\n]*")
NO_BODY = (204, 304)


class BadAnswer(Exception):
    """What the handler returned is not an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    def lines(self) -> list[tuple[bytes, bytes]]:
        """The headers as they are sent, with the length of the body."""
        lines = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in self.headers]
        if self.status not in NO_BODY:
            lines.append((b"content-length", str(len(self.body)).encode()))
        return lines


def answer_of(value: Any, *, invocation: bool) -> Answer:
    """Raises `BadAnswer`."""
    if invocation:
        return Answer(200, [JSON_TYPE], _json(value))
    if isinstance(value, dict) and "statusCode" in value:
        return _whole(value)
    body = value.encode() if isinstance(value, str) else _json(value)
    return Answer(200, [JSON_TYPE], body)


def exception(error: BaseException, *, invocation: bool) -> Answer:
    told = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": traces.stack(error)}
    headers = [JSON_TYPE, EXCEPTION, *([UNHANDLED] if invocation else [])]
    return Answer(500, headers, json.dumps(told).encode())


def bad_event(error: ValueError) -> Answer:
    headers = [JSON_TYPE, ("x-amzn-errortype", "InvalidRequestContentException")]
    return Answer(400, headers, json.dumps({"Type": "User", "message": str(error)}).encode())


def _whole(value: dict[str, Any]) -> Answer:
    headers = list(_headers(value))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.insert(0, JSON_TYPE)
    status = _status(value["statusCode"])
    return Answer(status, headers, b"" if status in NO_BODY else _body(value))


def _status(status: Any) -> int:
    try:
        number = int(status)
    except (TypeError, ValueError):
        raise BadAnswer(f"statusCode is {status!r}; it must be a number") from None
    if not 200 <= number <= 599:
        raise BadAnswer(f"statusCode is {number}; it must be 200 to 599")
    return number


def _headers(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    pairs = list(_table(value, "headers").items())
    pairs += [(name, one) for name, many in _table(value, "multiValueHeaders").items() for one in many]
    pairs += [("set-cookie", cookie) for cookie in value.get("cookies") or ()]
    for name, one in pairs:
        text = str(one)
        if not HEADER_NAME.fullmatch(str(name)) or not HEADER_VALUE.fullmatch(text):
            raise BadAnswer(f"the header {name!r} cannot be sent with the value {text!r}")
        if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
            yield name, text


def _table(value: dict[str, Any], name: str) -> dict[str, Any]:
    table = value.get(name) or {}
    if not isinstance(table, dict):
        raise BadAnswer(f"{name} is {table!r}; it must be a dict")
    return table


def _body(value: dict[str, Any]) -> bytes:
    body = value.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        return _json(body)
    if not value.get("isBase64Encoded"):
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadAnswer(f"the body is not base64: {error}") from None


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadAnswer(f"the returned value is not JSON: {error}") from None
