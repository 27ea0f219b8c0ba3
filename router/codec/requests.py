"""The heads of requests: validated, and edited into what the function gets to see.

A client that invokes repeats itself: what was read of a request line is kept for all connections, and what was read of
the fields for the next request on the same one. What is equal byte for byte needs no second look, so that most heads
cost a comparison, or one for each part that does not change; nothing is kept of what was refused.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from router import target
from router.codec import grammar
from router.codec.grammar import BARE_LF, CR, END, MOST_FIELDS, MOST_HEAD, MOST_LINE, TOKEN, Special
from router.codec.template import NO_TEMPLATE, Template, derive
from router.fields import (
    AUTHORITY,
    FRAMING,
    HOP_BY_HOP,
    NOT_HOP_BY_HOP,
    REQUEST_DROPPED,
    REQUEST_ID,
    VIA,
)
from router.forwarding import Peer
from router.problems import Problem, malformed
from router.target import Target

LINES_KEPT: Final = 2_048
LONGEST_KEPT: Final = 1_024
"""Bytes of a request line."""
HOSTS_KEPT: Final = 256
HEAD_KEPT: Final = 4_096
"""Bytes of the head that a connection keeps."""

LINE: Final = re.compile(rb"(" + TOKEN + rb"++) ([^\x00-\x20\x7f]++) HTTP/([0-9])\.([0-9])")
"""RFC 9112 section 3, one space between the parts. What a target may not be is told apart by `router.target`."""
WEBSOCKET: Final = b"websocket"
BEGUN: Final = re.compile(TOKEN)
DROPPED: Final = Special(REQUEST_DROPPED | FRAMING)
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""RFC 9110 section 9.2.2."""


@dataclass(frozen=True, slots=True)
class Line:
    """A request line; `target` is the refusal where it names nothing that can be invoked."""

    method: bytes
    target: Target | Problem
    minor: int
    """Of the version: 0 or 1."""
    authority: bytes | None
    start: bytes
    """The line for the function."""
    headless: bool
    """Its answer has no body."""
    idempotent: bool
    usual: bool
    """Of HTTP/1.1, to a function by its own path."""


@dataclass(slots=True, init=False)
class Fields:
    """Not frozen, since that makes a new one cost a microsecond; nobody changes it."""

    lines: bytes
    """For the function, each with the end of the line before it."""
    received: bytes
    """The lines as they came."""
    length: int | None
    chunked: bool
    bodiless: bool
    last: bool
    """The client wants no other answer on this connection."""
    request_id: bytes | None
    expect: bytes | None
    forwarded_for: tuple[bytes, ...]
    """By whom it came to a peer that is trusted."""
    upgrade: bytes | None
    """The protocol that the client asks to change to, where a tunnel can be made of that: WebSocket, and no body is
    sent first. Any other offer is passed over, as RFC 9110 section 7.8 allows."""

    def __init__(
        self,
        lines: bytes,
        received: bytes,
        *,
        length: int | None,
        chunked: bool,
        last: bool,
        request_id: bytes | None,
        expect: bytes | None,
        forwarded_for: tuple[bytes, ...],
        upgrade: bytes | None,
    ) -> None:
        """Written out, since what `dataclass` writes is not compiled."""
        self.lines = lines
        self.received = received
        self.length = length
        self.chunked = chunked
        self.bodiless = length is None and not chunked
        self.last = last
        self.request_id = request_id
        self.expect = expect
        self.forwarded_for = forwarded_for
        self.upgrade = upgrade

    def alike(self, lines: bytes, received: bytes) -> "Fields":
        """Of lines that differ from these in nothing but values that are sent on as they came."""
        return Fields(
            lines,
            received,
            length=self.length,
            chunked=self.chunked,
            last=self.last,
            request_id=self.request_id,
            expect=self.expect,
            forwarded_for=self.forwarded_for,
            upgrade=self.upgrade,
        )


class RequestReader:
    """Reads the heads of one connection."""

    def __init__(self, peer: Peer) -> None:
        self.end = 0
        """Where the body of the request that was read begins."""
        self._head = b""
        self._last: tuple[Line, Fields] | None = None
        """What was read of it."""
        self._read: tuple[Line, Fields] | None = None
        """What was last read without the template."""
        self._line: Line | None = None
        self._told = b""
        """What was last read by it: the request line, and as it came, with the begin of its end."""
        self._template = NO_TEMPLATE
        """Of the fields of heads like that one."""
        self._peer = peer

    def read(self, data: bytes) -> tuple[Line, Fields] | None:
        """The head at the start of the data; `None` if it is not whole. Raises `Problem`, and then nothing else can be
        read from this connection."""
        if self._last is not None and data.startswith(self._head):
            return self._last
        head = self._read_alike(data) or self._read_anew(data)
        if head is not None:
            kept = self.end <= HEAD_KEPT
            self._head = data[: self.end] if kept else b""
            self._last = head if kept else None
        return head

    def _read_alike(self, data: bytes) -> tuple[Line, Fields] | None:
        if self._read is None:
            return None
        known = self._line if data.startswith(self._told) else None
        line_end = len(self._told) - 1 if known is not None else max(0, data.find(CR))
        filled = self._template.fill(data, line_end)
        if filled is None or filled[1] > HEAD_KEPT:
            return None
        before, fields = self._read
        line = known if known is not None else read_line(data[:line_end])
        if line.minor != before.minor or line.authority != before.authority:
            return None
        if known is None:
            self._line, self._told = line, data[: line_end + 1]
        lines, self.end = filled
        if self._template.places:
            fields = fields.alike(lines, data[line_end : self.end - len(END)])
        return line, fields

    def _read_anew(self, data: bytes) -> tuple[Line, Fields] | None:
        end = data.find(END)
        if end < 0:
            _check_begun(data)
            return None
        line_end = data.find(b"\r\n")
        line = read_line(data[:line_end])
        fields = read_fields(data[line_end:end], minor=line.minor, authority=line.authority, peer=self._peer)
        self.end = end + len(END)
        if self.end <= HEAD_KEPT:
            self._template = _template(self._last[1] if self._last else None, fields, self._template)
            self._read = (line, fields)
        else:
            self._template, self._read = NO_TEMPLATE, None
        return line, fields


def read_line(line: bytes) -> Line:
    return _read_line_once(line) if len(line) <= LONGEST_KEPT else _read_line(line)


def _read_line(line: bytes) -> Line:
    if len(line) > MOST_LINE:
        raise _line_too_long()
    parts = LINE.fullmatch(line)
    if parts is None:
        raise malformed("the request line is not one of HTTP/1.1")
    method, told, major, minor = parts.groups()
    if major != b"1" or minor not in {b"0", b"1"}:
        raise Problem(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "the router speaks HTTP/1.1", close=True)
    named = _target(told, method)
    rest, authority = b"", None
    if isinstance(named, Target):
        rest = named.rest.encode()
        authority = None if named.authority is None else named.authority.encode()
    return Line(
        method=method,
        target=named,
        minor=int(minor),
        authority=authority,
        start=method + b" " + rest + b" HTTP/1.1",
        headless=method == b"HEAD",
        idempotent=method in IDEMPOTENT,
        usual=minor == b"1" and isinstance(named, Target) and not named.invoke,
    )


_read_line_once: Final = lru_cache(maxsize=LINES_KEPT)(_read_line)


def _target(told: bytes, method: bytes) -> Target | Problem:
    """Raises the refusals after which the connection ends."""
    if method == b"CONNECT":
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "this is not a proxy for other hosts", close=True)
    try:
        return target.parse(told.decode("latin-1"), method=method.decode())
    except Problem as problem:
        if problem.close:
            raise
        return problem.with_traceback(None)


def read_fields(lines: bytes, *, minor: int, authority: bytes | None, peer: Peer) -> Fields:
    """`authority` of the target stands for Host; `peer` is who sent them. Raises `Problem`."""
    kept, found, connection = _split(lines)
    told = _host(found.get(b"host", []), minor=minor)
    host = told if authority is None else authority
    length, chunked = _framing(found, minor=minor)
    via = b", ".join([*found[b"via"], VIA]) if b"via" in found else VIA
    edited = [b"\r\nHost: ", host, grammar.block(kept), b"\r\nVia: ", via, peer.lines(found, host)]
    if chunked:
        edited.append(b"\r\nTransfer-Encoding: chunked")
    elif length is not None:
        edited.append(b"\r\nContent-Length: %d" % length)
    asked = minor and b"upgrade" in connection and not (length or chunked)
    request_id = _first(found, b"hotswap-request-id")
    expect = _first(found, b"expect")
    return Fields(
        b"".join(edited),
        lines,
        length=length,
        chunked=chunked,
        last=b"close" in connection or (minor == 0 and b"keep-alive" not in connection),
        request_id=request_id if request_id is not None and REQUEST_ID.fullmatch(request_id) else None,
        expect=expect.lower() if expect is not None and minor else None,
        forwarded_for=tuple(found.get(b"x-forwarded-for", ())) if peer.trusted else (),
        upgrade=_upgrade(found) if asked else None,
    )


def _split(lines: bytes) -> tuple[list[bytes], dict[bytes, list[bytes]], frozenset[bytes]]:
    """The lines that are sent on as they came, the values of the other fields, and what Connection names."""
    _check_size(lines)
    try:
        kept, found = DROPPED.split(lines)
    except ValueError as error:
        raise malformed(str(error)) from None
    connection = grammar.tokens(found.get(b"connection", ()))
    if connection:
        if connection & NOT_HOP_BY_HOP:
            raise malformed("Connection names a field that must reach its receiver")
        if named := connection - HOP_BY_HOP - {b"close"}:
            kept = grammar.without(kept, named)
    return kept, found, connection


def _template(before: Fields | None, now: Fields, last: Template) -> Template:
    """Of heads like this one, that differ from it as the one before did, or as they did until now."""
    derived = None
    if before is not None:
        kept, _, _ = _split(now.received)
        derived = derive(before.received, now.received, kept=kept, sent=now.lines, also=last.places)
    return derived or Template([now.received + END], [now.lines], {})


def _upgrade(found: dict[bytes, list[bytes]]) -> bytes | None:
    told = _first(found, b"upgrade")
    return told if told is not None and told.lower() == WEBSOCKET else None


def _first(found: dict[bytes, list[bytes]], name: bytes) -> bytes | None:
    return found[name][0] if name in found else None


def _host(told: list[bytes], *, minor: int) -> bytes:
    if len(told) > 1 or (minor and not told):
        raise malformed("a request has exactly one Host")
    host = told[0] if told else b""
    if not _is_authority(host):
        raise malformed("Host is not a host with an optional port")
    return host


@lru_cache(maxsize=HOSTS_KEPT)
def _is_authority(host: bytes) -> bool:
    return AUTHORITY.fullmatch(host) is not None


def _framing(found: dict[bytes, list[bytes]], *, minor: int) -> tuple[int | None, bool]:
    """RFC 9112 section 6, without the ways out that it leaves: two answers to where the body ends are one too many."""
    codings = found.get(b"transfer-encoding")
    lengths = found.get(b"content-length")
    if codings is None and lengths is None:
        return None, False
    if codings and (lengths or not minor):
        raise malformed("Transfer-Encoding stands with Content-Length, or in HTTP/1.0")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, "the only transfer coding is chunked", close=True)
    try:
        return grammar.length(lengths or []), bool(codings)
    except ValueError as error:
        raise malformed(str(error)) from None


def _check_size(lines: bytes) -> None:
    longest = max(map(len, lines.split(b"\r\n"))) if len(lines) > MOST_LINE else 0
    if len(lines) > MOST_HEAD or longest > MOST_LINE or grammar.too_many(lines):
        raise _head_too_large()


def _check_begun(data: bytes) -> None:
    """Refuses at once what no more bytes can mend."""
    if (data and not BEGUN.match(data)) or BARE_LF.search(data):
        raise malformed("the request is not HTTP/1.1 as RFC 9112 has it")
    if len(data) > MOST_LINE:
        line_end = data.find(b"\r\n")
        if not 0 <= line_end <= MOST_LINE:
            raise _line_too_long()
        if len(data) > MOST_HEAD or max(map(len, data[line_end:].split(b"\r\n"))) > MOST_LINE:
            raise _head_too_large()


def _line_too_long() -> Problem:
    return Problem(HTTPStatus.REQUEST_URI_TOO_LONG, f"the request line is over {MOST_LINE} bytes", close=True)


def _head_too_large() -> Problem:
    detail = f"a field is over {MOST_LINE} bytes, or there are over {MOST_FIELDS}, or {MOST_HEAD} bytes of them"
    return Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail, close=True)
