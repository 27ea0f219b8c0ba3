"""From an HTTP request to the event of a handler: the function-URL event of AWS Lambda, payload format 2.0.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
"""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

INVOCATION_PATH = "/2015-03-31/functions/function/invocations"
"""A POST to it has the event itself as its body."""
TEXT_TYPES = ("application/json", "application/javascript", "application/xml", "application/x-www-form-urlencoded")
TEXT_SUFFIXES = ("+json", "+xml")


class BadEvent(ValueError):
    """The body of an invocation is not JSON: the caller's fault."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """As it was sent, still percent-encoded."""
    query: str
    """As it was sent."""
    headers: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes
    client: str
    """The address of the peer, which is a router."""
    http: str = "1.1"

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def invocation(self) -> bool:
        return self.path == INVOCATION_PATH and self.method == "POST"


def event_of(request: Request, *, function: str, request_id: str, now: datetime) -> Any:
    """Raises `BadEvent`."""
    if request.invocation:
        return _invocation(request.body)
    return _url_event(request, function=function, request_id=request_id, now=now)


def _invocation(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError as error:
        raise BadEvent(f"Could not parse request body into json: {error}") from None


def _url_event(request: Request, *, function: str, request_id: str, now: datetime) -> dict[str, Any]:
    domain = request.header("x-forwarded-host") or request.header("host")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": _headers(request),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": function,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": f"HTTP/{request.http}",
                "sourceIp": request.header("x-forwarded-for").partition(",")[0].strip() or request.client,
                "userAgent": request.header("user-agent"),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": now.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies := _cookies(request):
        event["cookies"] = cookies
    if request.query:
        event["queryStringParameters"] = _joined(parse_qsl(request.query, keep_blank_values=True))
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request)
    return event


def _headers(request: Request) -> dict[str, str]:
    return _joined([(name, value) for name, value in request.headers if name != "cookie"])


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """What comes more than once is joined by commas."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _cookies(request: Request) -> list[str]:
    lines = [value for name, value in request.headers if name == "cookie"]
    return [cookie.strip() for line in lines for cookie in line.split(";") if cookie.strip()]


def _body(request: Request) -> tuple[str, bool]:
    """The body as text, or base64 of it with True."""
    if _is_text(request.header("content-type")) and not request.header("content-encoding"):
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode(), True


def _is_text(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return not media or media.startswith("text/") or media in TEXT_TYPES or media.endswith(TEXT_SUFFIXES)
