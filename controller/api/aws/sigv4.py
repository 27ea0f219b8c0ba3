"""AWS's Signature Version 4, checked: what a request shows, and whether who sent it has the secret. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

The body is always hashed here: `UNSIGNED-PAYLOAD`, which S3 allows, proves nothing of a body, and is refused as Lambda
does. A signature can be sent again within the 15 minutes that clocks may differ, as with AWS.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

from controller.api.aws.faults import Fault

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "lambda"
TERMINATOR = "aws4_request"
SKEW = timedelta(minutes=15)
STAMP = "%Y%m%dT%H%M%SZ"
AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=(?P<id>[^/\s,]+)/(?P<day>\d{{8}})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/"
    rf"{TERMINATOR}, *SignedHeaders=(?P<headers>[a-z0-9;_.-]+), *Signature=(?P<signature>[0-9a-f]{{64}})"
)
UNRESERVED = "-_.~"
"""Beside letters and digits (RFC 3986 section 2.3)."""

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Signed:
    """What a request was signed as."""

    method: str
    target: str
    """Path and query, as they came."""
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Shown:
    """What the header `Authorization` says."""

    key_id: str
    day: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/{TERMINATOR}"


def is_signed(authorization: str) -> bool:
    return authorization.startswith("AWS4-")


def read(authorization: str) -> Shown:
    """Raises `Fault`."""
    if not authorization:
        raise Fault("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)
    found = AUTHORIZATION.fullmatch(authorization.strip())
    if not found:
        message = f"Authorization is not {ALGORITHM} with Credential, SignedHeaders and Signature"
        raise Fault("IncompleteSignatureException", message, status=400)
    return Shown(
        key_id=found["id"],
        day=found["day"],
        region=found["region"],
        service=found["service"],
        headers=tuple(found["headers"].split(";")),
        signature=found["signature"],
    )


def verify(request: Signed, shown: Shown, *, secret: str, now: datetime) -> None:
    """Raises `Fault`."""
    stamp = check(request.headers, shown, now=now)
    if _values(request.headers, "x-amz-content-sha256") == ["UNSIGNED-PAYLOAD"]:
        raise _wrong("The payload is not signed; sign its sha256")
    if not hmac.compare_digest(signature(request, shown, stamp=stamp, secret=secret), shown.signature):
        raise _wrong(
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method."
        )


def check(headers: Headers, shown: Shown, *, now: datetime) -> str:
    """All that can be told before the body is there; gives the time of the signature. Raises `Fault`."""
    names = {name.lower() for name, _ in headers}
    unsigned = {name for name in names if name.startswith("x-amz-")} | {"host", "x-amz-date"}
    if left := sorted(unsigned - set(shown.headers)):
        raise _wrong(f"'{left[0]}' must be a 'SignedHeader' in the AWS Authorization.")
    if absent := sorted(set(shown.headers) - names):
        raise _wrong(f"'{absent[0]}' is said to be signed, and was not sent.")
    stamps = _values(headers, "x-amz-date")
    try:
        signed = datetime.strptime(stamps[0] if len(stamps) == 1 else "", STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise Fault("IncompleteSignatureException", "X-Amz-Date is not YYYYMMDD'T'HHMMSS'Z'", status=400) from None
    if shown.day != stamps[0][:8]:
        raise _wrong("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
    if shown.service != SERVICE:
        raise _wrong(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if signed < now - SKEW:
        raise _wrong(
            f"Signature expired: {stamps[0]} is now earlier than {now - SKEW:{STAMP}} ({now:{STAMP}} - 15 min.)"
        )
    if signed > now + SKEW:
        raise _wrong(
            f"Signature not yet current: {stamps[0]} is still later than {now + SKEW:{STAMP}} ({now:{STAMP}} + 15 min.)"
        )
    return stamps[0]


def signature(request: Signed, shown: Shown, *, stamp: str, secret: str) -> str:
    """What it has to be."""
    text = "\n".join([ALGORITHM, stamp, shown.scope, _sha256(canonical(request, shown.headers).encode())])
    return hmac.new(_key(secret, shown), text.encode(), hashlib.sha256).hexdigest()


def canonical(request: Signed, headers: Iterable[str]) -> str:
    """The canonical request."""
    path, _, query = request.target.partition("?")
    lines = [f"{name}:{','.join(' '.join(it.split()) for it in _values(request.headers, name))}" for name in headers]
    return "\n".join([request.method, _path(path), _query(query), *lines, "", ";".join(headers), _sha256(request.body)])


def _path(path: str) -> str:
    """Encoded once more than it was sent (all services but S3), without dot segments and empty ones."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part and part != ".":
            parts.append(part)
    end = "/" if parts and path.endswith("/") else ""
    return quote("/" + "/".join(parts) + end, safe="/~")


def _query(query: str) -> str:
    """In the order of the names and then of the values, which is not that of the pairs: `a` comes before `a-`."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, value in sorted((_encoded(it[0]), _encoded(it[2])) for it in pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe=UNRESERVED)


def _values(headers: Headers, name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


def _key(secret: str, shown: Shown) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (shown.day, shown.region, shown.service, TERMINATOR):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _wrong(message: str) -> Fault:
    return Fault("InvalidSignatureException", message, status=403)
