"""What lines of HTTP/1.1 are made of, and how long they may be."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

MOST_LINE = 8_192
"""Bytes of a request line or of a field; as nginx and Apache have it."""
MOST_FIELDS = 128
MOST_HEAD = 65_536
"""Bytes."""
MOST_LENGTH = 2**63 - 1
"""Of a body: what fits the signed 64 bits that most readers count with."""

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""RFC 9110 section 5.6.2."""
TEXT = rb"[\t\x20-\x7e\x80-\xff]"
"""RFC 9110 section 5.5, with obs-text: no control character but a tab."""
FIELD = re.compile(TOKEN + rb"++:" + TEXT + rb"*+")
"""RFC 9112 section 5: no space before the colon, and no folding."""
FIELDS = re.compile(rb"(?:\r\n" + FIELD.pattern + rb")*+")
"""The lines of a head, each with the end of the line before it."""
LENGTH = re.compile(rb"[0-9]{1,19}")
NOTHING: frozenset[bytes] = frozenset()
BARE_LF = re.compile(rb"(?<!\r)\n")


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


def tokens(values: Sequence[bytes]) -> frozenset[bytes]:
    """Of Connection, in lower case."""
    if not values:
        return NOTHING
    return frozenset(token.strip(b" \t").lower() for value in values for token in value.split(b","))


class Special:
    """Finds the fields of some names in the lines of a head, in one search; with `-` and `_` alike, since many a
    program behind us takes them for the same."""

    def __init__(self, names: Iterable[bytes]) -> None:
        by_first: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for name in sorted(names):
            by_first[name[:1]].append(name[1:].replace(b"-", b"[-_]"))
        branches = (first + b"(?:" + b"|".join(rest) + b")" for first, rest in by_first.items())
        self._pattern = re.compile(rb"\r\n(" + b"|".join(branches) + rb"):[^\r]*")

    def split(self, lines: bytes) -> tuple[bytes, dict[bytes, list[bytes]]]:
        """The lines of other names as they are, and the values of these by name in lower case; of a name with `_` none:
        it is taken off and means nothing."""
        found: dict[bytes, list[bytes]] = {}
        kept: list[bytes] = []
        at = 0
        for match in self._pattern.finditer(lines.lower()):
            start, end = match.span()
            kept.append(lines[at:start])
            at = end
            name = match[1]
            if b"_" not in name:
                value = lines[start + len(name) + 3 : end].strip(b" \t")
                if name in found:
                    found[name].append(value)
                else:
                    found[name] = [value]
        kept.append(lines[at:])
        return b"".join(kept), found


def without(lines: bytes, names: frozenset[bytes]) -> bytes:
    """The lines but those of these names (in lower case), nor of their look-alikes."""
    dropped = {name.replace(b"_", b"-") for name in names}
    kept = [line for line in lines.split(b"\r\n")[1:] if _name(line) not in dropped]
    return b"".join(b"\r\n" + line for line in kept)


def value(lines: bytes, name: bytes) -> bytes | None:
    """Of the first field of this name."""
    found = _search(name).search(lines)
    return found[1].strip(b" \t") if found else None


@lru_cache(maxsize=256)
def _search(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\r\n" + re.escape(name) + rb":([^\r]*)", re.IGNORECASE)


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower().replace(b"_", b"-")
