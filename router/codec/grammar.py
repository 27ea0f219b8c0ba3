"""What lines of HTTP/1.1 are made of, and how long they may be."""

import re
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
LENGTH = re.compile(rb"[0-9]{1,19}")
LINES_KEPT = 4_096
LONGEST_KEPT = 256
"""Bytes of a line; what is longer is most often one user's alone."""
LOOKALIKES = b"_"
"""What fields are found under that look like others."""
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
    """Reads the lines of a head, and finds the fields of some names among them; with `-` and `_` alike, since many a
    program behind us takes them for the same.

    Of the fields of two requests most are equal, whoever sends them, so what was read of a line is kept for the next
    one: a known line costs a look into a cache, where the grammar costs a search through it.
    """

    def __init__(self, names: Iterable[bytes]) -> None:
        self._names = frozenset(names)
        self._known = lru_cache(maxsize=LINES_KEPT)(self._read)

    def split(self, lines: bytes) -> tuple[bytes, dict[bytes, list[bytes]]]:
        """The lines of other names as they are, and the values of these by name in lower case; of a name with `_` none:
        it is taken off and means nothing. Raises `ValueError` for a line that is not a field."""
        kept = [b""]
        found: dict[bytes, list[bytes]] = {}
        for line in lines.split(b"\r\n")[1:]:
            special = self._known(line) if len(line) <= LONGEST_KEPT else self._read(line)
            if special is None:
                kept.append(line)
            elif special[0] in found:
                found[special[0]].append(special[1])
            else:
                found[special[0]] = [special[1]]
        return b"\r\n".join(kept), found

    def _read(self, line: bytes) -> tuple[bytes, bytes] | None:
        """Name and value, if the name is one of these."""
        if not FIELD.fullmatch(line):
            raise ValueError("a field is not as RFC 9112 has it")
        told, _, value = line.partition(b":")
        name = told.lower()
        if b"_" in name:
            return (LOOKALIKES, b"") if name.replace(b"_", b"-") in self._names else None
        return (name, value.strip(b" \t")) if name in self._names else None


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
