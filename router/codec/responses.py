"""The heads of responses: validated, and edited into what the client gets to see, but for what belongs to its request.

A function answers many requests alike within a second, so what was read of a head is kept for the next one that is
equal byte for byte.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from router.codec import grammar
from router.codec.grammar import END, MOST_FIELDS, TEXT, Special
from router.codec.reports import Reports, read_reports
from router.fields import FRAMING, HOP_BY_HOP, RESPONSE_DROPPED, VIA

HEADS_KEPT: Final = 512
LONGEST_KEPT: Final = 2_048
"""Bytes of a head."""
FINAL: Final = 200
"""Statuses below this one are interim."""
SWITCHING_PROTOCOLS: Final = 101
"""The only one of them that ends what is HTTP."""
NO_CONTENT: Final = 204
ERRORS: Final = 400
"""Statuses from this one on are the errors of somebody."""
NOT_MODIFIED: Final = 304
EXCEPTION: Final = b"exception"
"""Value of Hotswap-Error with which an instance tells that its handler raised."""

LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + TEXT + rb"*+))?")
"""RFC 9112 section 4. A missing reason with its space is let pass, as every client does."""
SPECIAL: Final = Special(RESPONSE_DROPPED | FRAMING)
DATE: Final = re.compile(rb"\r\ndate:", re.IGNORECASE)


class BadResponse(ValueError):
    """Not a response, or one that two readers may read in two ways."""


@dataclass(frozen=True, slots=True)
class Head:
    came: bytes
    """As it came, with its end."""
    status: int
    start: bytes
    """The status line."""
    lines: bytes
    """For the client, each with the end of the line before it; Content-Length among them, no other framing."""
    length: int | None
    """Of the body, if it was told."""
    chunked: bool
    keep: bool
    """The connection may serve another request."""
    dated: bool
    raised: bool
    """The handler has raised an exception."""
    upgrade: bytes
    reports: Reports | None
    usual: bool
    """A dated success of a known length that reports nothing: there is nothing to decide about it."""


def read_head(head: bytes) -> Head:
    """A head without the empty line that ends it. Raises `BadResponse`."""
    return _read_once(head) if len(head) <= LONGEST_KEPT else _read(head)


def _read(head: bytes) -> Head:
    told, end, _ = head.partition(b"\r\n")
    lines = head[len(told) :] if end else b""
    line = LINE.fullmatch(told)
    if line is None:
        raise BadResponse("its answer is not HTTP/1.1")
    if grammar.too_many(lines):
        raise BadResponse(f"its answer has over {MOST_FIELDS} fields")
    minor, status, reason = line.groups()
    return _edited(head + END, int(status), reason or b"", lines, minor=int(minor))


_read_once: Final = lru_cache(maxsize=HEADS_KEPT)(_read)


def _edited(came: bytes, status: int, reason: bytes, lines: bytes, *, minor: int) -> Head:
    try:
        others, found = SPECIAL.split(lines)
    except ValueError as error:
        raise BadResponse(f"in its answer {error}") from None
    connection = grammar.tokens(found.get(b"connection", ()))
    if named := connection - HOP_BY_HOP - {b"close"}:
        others = grammar.without(others, named)
    kept = grammar.block(others)
    length, chunked = _framing(found, minor=minor)
    bodiless = status < FINAL or status == NO_CONTENT
    dated = DATE.search(kept) is not None
    raised = found.get(b"hotswap-error") == [EXCEPTION]
    reports = read_reports(found[b"hotswap-metric"]) if b"hotswap-metric" in found else None
    if length is not None and not bodiless:
        kept += b"\r\nContent-Length: %d" % length
    return Head(
        came=came,
        status=status,
        start=b"HTTP/1.1 %d %b" % (status, reason),
        lines=kept if status < FINAL else kept + b"\r\nVia: " + VIA,
        length=0 if bodiless else length,
        chunked=chunked and not bodiless,
        keep=b"close" not in connection and (minor == 1 or b"keep-alive" in connection),
        dated=dated,
        raised=raised,
        upgrade=found.get(b"upgrade", [b""])[0],
        reports=reports,
        usual=dated
        and not raised
        and reports is None
        and (length is not None or bodiless)
        and FINAL <= status < ERRORS,
    )


def _framing(found: dict[bytes, list[bytes]], *, minor: int) -> tuple[int | None, bool]:
    codings = [coding.lower() for coding in found.get(b"transfer-encoding", ())]
    lengths = found.get(b"content-length", [])
    if codings and (lengths or not minor or codings != [b"chunked"]):
        raise BadResponse("its answer has a Transfer-Encoding other than chunked alone")
    try:
        return grammar.length(lengths), bool(codings)
    except ValueError as error:
        raise BadResponse(str(error)) from None
