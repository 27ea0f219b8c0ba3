"""What lines of HTTP/1.1 are made of, and how long they may be."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

CR: Final = 13
"""A number, as is `BAD`."""
END: Final = b"\r\n\r\n"
"""Of a head."""
MOST_LINE: Final = 8_192
"""Bytes of a request line or of a field; as nginx and Apache have it."""
MOST_FIELDS: Final = 128
MOST_HEAD: Final = 65_536
"""Bytes."""
MOST_LENGTH: Final = 2**63 - 1
"""Of a body: what fits the signed 64 bits that most readers count with."""

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""RFC 9110 section 5.6.2."""
TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]"
"""RFC 9110 section 5.5, with obs-text: no control character but a tab."""
BAD: Final = 10
"""A byte that is not text; a number, since Python takes bytes that it looks for to be one first, in vain."""
BYTES: Final = bytes(32 if re.fullmatch(TEXT, bytes([byte])) else BAD for byte in range(256))
"""A table that translates each byte of text to a space, and all others to `BAD`."""
NAME: Final = re.compile(TOKEN + rb"++")
FIELD: Final = re.compile(TOKEN + rb"++:" + TEXT + rb"*+")
"""RFC 9112 section 5: no space before the colon, and no folding."""
LENGTH: Final = re.compile(rb"[0-9]{1,19}")
NAMES_KEPT: Final = 1_024
LONGEST_KEPT: Final = 64
"""Bytes of a name."""
LOOKALIKES: Final = b"_"
"""What fields are found under that look like others."""
NOTHING: frozenset[bytes] = frozenset()
NOT_A_FIELD: Final = "a field is not as RFC 9112 has it"
BARE_LF: Final = re.compile(rb"(?<!\r)\n")


def length(values: list[bytes]) -> int | None:
    """Of Content-Length, by all fields of this name. Raises `ValueError` for what is not one number."""
    if not values:
        return None
    if len(values) > 1 or not LENGTH.fullmatch(values[0]):
        raise ValueError("Content-Length is not one number")
    told = int(values[0])
    if told > MOST_LENGTH:
        raise ValueError("Content-Length is too large")
    return told


def too_many(block: bytes) -> bool:
    """Whether there are more fields than a head may have; one byte is counted faster than two."""
    return block.count(b"\n") > MOST_FIELDS and block.count(b"\r\n") > MOST_FIELDS


def tokens(values: Sequence[bytes]) -> frozenset[bytes]:
    """Of Connection, in lower case."""
    if not values:
        return NOTHING
    return frozenset(token.strip(b" \t").lower() for value in values for token in value.split(b","))


class Special:
    """Reads the lines of a head, and finds the fields of some names among them; with `-` and `_` alike, since many a
    program behind us takes them for the same.

    Names are few, and what was found out about one is kept. Of what is not in a name only the bytes matter, and these
    are looked at for all lines together.
    """

    def __init__(self, names: Iterable[bytes]) -> None:
        self._names = frozenset(names)
        self._known: dict[bytes, bytes] = {}
        """By name as it comes: in lower case if it is one of these, else nothing."""

    def split(self, block: bytes) -> tuple[list[bytes], dict[bytes, list[bytes]]]:
        """The lines of other names as they are, and the values of these by name in lower case; a name with `_` is taken
        off and means nothing. `block` has each line with the end of the one before it. Raises `ValueError` for a line
        that is not a field."""
        lines = block.split(b"\r\n")
        if block.translate(BYTES).count(BAD) != 2 * (len(lines) - 1):  # those of the ends of lines
            raise ValueError(NOT_A_FIELD)
        kept: list[bytes] = []
        found: dict[bytes, list[bytes]] = {}
        for line in lines[1:]:
            told, colon, value = line.partition(b":")
            name = self._known.get(told)
            if name is None or not colon:
                name = self._learn(told, colon)
            if not name:
                kept.append(line)
            elif name in found:
                found[name].append(value.strip(b" \t"))
            else:
                found[name] = [value.strip(b" \t")]
        return kept, found

    def _learn(self, told: bytes, colon: bytes) -> bytes:
        if not colon or not NAME.fullmatch(told):
            raise ValueError(NOT_A_FIELD)
        name = told.lower()
        if b"_" in name:
            name = LOOKALIKES if name.replace(b"_", b"-") in self._names else b""
        elif name not in self._names:
            name = b""
        if len(told) <= LONGEST_KEPT:
            if len(self._known) >= NAMES_KEPT:
                self._known.clear()
            self._known[told] = name
        return name


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The lines but those of these names (in lower case), nor of their look-alikes."""
    dropped = {name.replace(b"_", b"-") for name in names}
    return [line for line in lines if _name(line) not in dropped]


def block(lines: Sequence[bytes]) -> bytes:
    """Each with the end of the line before it."""
    return b"\r\n".join((b"", *lines))


def value(lines: bytes, name: bytes) -> bytes | None:
    """Of the first field of this name."""
    found = _search(name).search(lines)
    return found[1].strip(b" \t") if found else None


@lru_cache(maxsize=256)
def _search(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\r\n" + re.escape(name) + rb":([^\r]*)", re.IGNORECASE)


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower().replace(b"_", b"-")
