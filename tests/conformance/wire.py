"""Messages as they stood on the wire: taken from a stream by a reader that forgives, judged by one that does not.

The scripted upstream and the client must understand whatever a proxy makes of a bad request, so `take` is lenient;
`flaw` then says what is wrong with it. Neither shares code with the router, so no error of it can hide in them.
"""

import re
from dataclasses import dataclass

END = b"\r\n\r\n"
REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e]+ HTTP/1\.[01]")
FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True)
class Message:
    head: bytes
    """With the empty line that ends it."""
    body: bytes
    """Without its framing."""
    trailers: bytes
    size: int
    """Bytes of all of it on the wire."""

    @property
    def lines(self) -> list[bytes]:
        """Of the head and the trailers, without the start line."""
        return [line for line in (self.head + self.trailers).split(b"\r\n")[1:] if line]

    @property
    def start(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def names(self) -> set[str]:
        return {line.partition(b":")[0].strip().lower().decode("latin-1") for line in self.lines}

    @property
    def status(self) -> int:
        """Of an answer."""
        word = self.start.split(b" ")[1:2]
        return int(word[0]) if word and word[0].isdigit() else 0

    def values(self, name: bytes) -> list[bytes]:
        return values(self.head, name)


def values(head: bytes, name: bytes) -> list[bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return [value.strip() for key, _, value in pairs if key.strip().lower() == name]


def take_request(data: bytes) -> Message | None:
    """The first one, as soon as it is whole."""
    return _take(data, bodiless=False, to_the_end=None)


def take_answer(data: bytes, *, to_head: bool, ended: bool) -> Message | None:
    """The first one, as soon as it is whole; `to_head`: it answers a HEAD; `ended`: nothing more will come."""
    status = data[9:12]
    bodiless = to_head or status[:1] == b"1" or status in {b"204", b"304"}
    return _take(data, bodiless=bodiless, to_the_end=ended)


def flaw(data: bytes) -> str:
    """What keeps these bytes from being whole requests that everybody reads alike; empty if nothing does."""
    while data:
        request = take_request(data)
        if request is None:
            return f"no whole request: {data[:60]!r}"
        if not REQUEST_LINE.fullmatch(request.start):
            return f"request line {request.start!r}"
        for line in request.lines:
            if not FIELD.fullmatch(line):
                return f"field {line!r}"
        framing = request.values(b"content-length") + request.values(b"transfer-encoding")
        if len(framing) > 1 or not all(it.isdigit() or it == b"chunked" for it in framing):
            return f"framing by {framing!r}"
        data = data[request.size :]
    return ""


def _take(data: bytes, *, bodiless: bool, to_the_end: bool | None) -> Message | None:
    """`to_the_end` is `None` where a message without framing has no body, as a request."""
    end = data.find(END)
    if end < 0:
        return None
    head, rest = data[: end + len(END)], data[end + len(END) :]
    if bodiless:
        return Message(head, b"", b"", len(head))
    if values(head, b"transfer-encoding"):
        return _take_chunked(head, rest)
    length = _length(head)
    if length is None:
        if to_the_end is False:
            return None
        length = 0 if to_the_end is None else len(rest)
    return Message(head, rest[:length], b"", len(head) + length) if len(rest) >= length else None


def _take_chunked(head: bytes, rest: bytes) -> Message | None:
    body, at = b"", 0
    while (eol := rest.find(b"\r\n", at)) >= 0:
        size = _size(rest[at:eol])
        if size is None:
            return None
        if size == 0:
            return _with_trailers(head, body, rest, eol)
        at = eol + 2 + size + 2
        if len(rest) < at or rest[at - 2 : at] != b"\r\n":
            return None
        body += rest[at - 2 - size : at - 2]
    return None


def _with_trailers(head: bytes, body: bytes, rest: bytes, eol: int) -> Message | None:
    end = rest.find(END, eol)
    if end < 0:
        return None
    return Message(head, body, rest[eol:end], len(head) + end + len(END))


def _length(head: bytes) -> int | None:
    told = values(head, b"content-length")
    return int(told[0]) if told and told[0].isdigit() else None


def _size(line: bytes) -> int | None:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        return None
