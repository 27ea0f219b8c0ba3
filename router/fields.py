"""The fields of a message on its way through: what is taken off, what is put on, what is refused.

Names and values are bytes, as they came; only a copy of a name is lowered to compare it. The names are for both lanes;
the functions read what aiohttp has parsed.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from router.problems import malformed

Field = tuple[bytes, bytes]

HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"}
    | {b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
"""RFC 9110 section 7.6.1; what Connection names is added to these."""
NOT_HOP_BY_HOP: Final = frozenset({b"host", b"content-length", b"authorization"})
"""A Connection that names one of these would have a proxy strip what the receiver relies on."""
OURS: Final = frozenset(
    {b"hotswap-request-id", b"hotswap-function", b"hotswap-version", b"hotswap-error", b"forwarded"}
    | {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
)
"""Set afresh by the router: nobody else's are believed."""
REWRITTEN: Final = frozenset({b"host", b"content-length", b"expect", b"via"})
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
REQUEST_DROPPED: Final = HOP_BY_HOP | OURS | REWRITTEN
RESPONSE_DROPPED: Final = HOP_BY_HOP | frozenset(
    {b"hotswap-request-id", b"hotswap-version", b"hotswap-error", b"hotswap-metric"}
)
"""The connection to the client and what the router tells are its own; reports are for the router."""
VIA: Final = b"1.1 hotswap"
END: Final = b"\r\n\r\n"
REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
AUTHORITY: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
"""RFC 3986 section 3.2, without userinfo, which RFC 9110 section 4.2.4 tells to treat as an error."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a request's body is delimited on its way to the function."""

    length: int | None = None
    chunked: bool = False


def value(fields: Iterable[Field], name: bytes) -> bytes | None:
    """The first field of this (lower-case) name."""
    for key, found in fields:
        if key.lower() == name:
            return found
    return None


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Of all fields of this (lower-case) name."""
    return [found for key, found in fields if key.lower() == name]


def connection_tokens(fields: Iterable[Field]) -> frozenset[bytes]:
    """What Connection names, in lower case."""
    lists = [it for key, it in fields if key.lower() == b"connection"]
    return frozenset(token.strip().lower() for it in lists for token in it.split(b",")) if lists else frozenset()


def check_request(fields: Sequence[Field], *, http_1_1: bool) -> None:
    """Raises `Problem` for a head that two readers may read in two ways."""
    if connection_tokens(fields) & NOT_HOP_BY_HOP:
        raise malformed("Connection names a field that must reach its receiver")
    hosts = [it for key, it in fields if key.lower() == b"host"]
    if len(hosts) > 1 or (http_1_1 and not hosts):
        raise malformed("a request has exactly one Host")
    if hosts and not AUTHORITY.fullmatch(hosts[0]):
        raise malformed("Host is not a host with an optional port")


def request_head(
    method: str,
    target: str,
    fields: Sequence[Field],
    *,
    host: bytes,
    framing: Framing,
    added: Iterable[Field],
    forwarding: bytes,
    upgrade: bytes | None = None,
) -> bytes:
    """The head of the request to the function, whole; `forwarding` are lines of it (`router.forwarding`)."""
    dropped = REQUEST_DROPPED | connection_tokens(fields)
    lines = [f"{method} {target} HTTP/1.1".encode("ascii"), b"Host: " + host]
    via = [VIA]
    for key, found in fields:
        name = key.lower()
        if name == b"via":
            via.insert(-1, found)
        elif name not in dropped and (b"_" not in name or name.replace(b"_", b"-") not in dropped | FRAMING):
            lines.append(key + b": " + found)
    lines.append(b"Via: " + b", ".join(via))
    lines += [key + b": " + found for key, found in added]
    lines.append(forwarding.removeprefix(b"\r\n"))
    if framing.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif framing.length is not None:
        lines.append(b"Content-Length: %d" % framing.length)
    if upgrade is not None:
        lines += [b"Connection: Upgrade", b"Upgrade: " + upgrade]
    return b"\r\n".join(lines) + END


def answer_end(*, dated: bool, chunked: bool, last: bool, minor: int) -> bytes:
    """What ends the head of an answer that is passed on. `dated`: it has a Date; `chunked`: it is told in chunks."""
    date = b"" if dated else date_line()
    framing = b"\r\nTransfer-Encoding: chunked" if chunked else b""
    return b"".join((date, framing, connection_line(last=last, minor=minor), END))


def connection_line(*, last: bool, minor: int) -> bytes:
    """Told only where it differs from what the version of HTTP means by silence."""
    if last:
        return b"\r\nConnection: close"
    return b"" if minor else b"\r\nConnection: keep-alive"


def upgrade_lines(protocol: bytes) -> bytes:
    return b"\r\nConnection: Upgrade\r\nUpgrade: " + protocol


def date_line() -> bytes:
    """RFC 9110 section 6.6.1: who has a clock adds the field that is missing."""
    return _date_line(int(time.time()))


@lru_cache(maxsize=2)
def _date_line(second: int) -> bytes:
    return b"\r\nDate: " + formatdate(second, usegmt=True).encode()
