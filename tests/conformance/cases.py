"""The cases: what is sent, and what must come of it; read from the tables beside this file.

Bytes are written so that a person can read them: as they are where they can be read, else by name (`\\r`, `\\n`, `\\t`,
`\\x00`, `\\\\`). A line break is for the eye only. `{a*9000}` is 9,000 times `a`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

TABLES = ("framing.toml", "syntax.toml", "proxying.toml")
ROWS = (
    *(f"F{number}" for number in range(1, 14)),
    *(f"H{number}" for number in range(1, 21)),
    *(f"P{number}" for number in range(1, 20)),
)
"""Every behaviour that the router promises on the wire: framing, syntax and target, proxying."""
ANSWER = r"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|([rnt\\]))")
NAMED = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}
REPEATED = re.compile(r"\{([^{}]+)\*(\d+)\}")

Way = Literal["whole", "bytes"]
"""How bytes are fed: all at once, or each one by itself."""
WAYS: tuple[Way, ...] = ("whole", "bytes")
Forwarded = Literal["whole", "part", "none"]
"""What of a request reached the upstream; `part`: at most its beginning, and never its end."""


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input. A line of a head is compared byte for byte, but for the case of a field's name."""

    name: str = ""
    """Sets it apart within its row."""
    title: str = ""
    send: str
    upstream: str = ANSWER
    upstream_at: Literal["end", "head"] = "end"
    """When the upstream answers: when it has the whole request, or its head."""
    upstream_burst: bool = False
    """What the upstream says is not taken apart: the case is about what arrives together."""
    upstream_ends: bool = False
    """It closes the connection after its answer."""

    status: int = 200
    closes: bool | Literal["either"] = False
    """Whether the client's connection ends with the answer."""
    forwarded: Forwarded = "whole"
    sees: list[str] = []
    """Lines that the upstream gets."""
    sees_not: list[str] = []
    """Names of fields, in lower case, that it must not get, in the head or after the body."""
    body: str | None = None
    """What it gets, without its framing."""
    gets: list[str] = []
    """Lines that the client gets."""
    gets_not: list[str] = []
    interim: list[int] = []
    """Statuses of the interim answers that the client gets."""
    answer: str | None = None
    """The body that the client gets."""
    cut: bool = False
    """The answer has begun and must be seen to be broken off."""
    keeps: bool | None = None
    """Whether the connection to the upstream is used again; `None` where that does not matter."""
    ours: bool = False
    """About something that only HotSwap has: other proxies are not asked."""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    rfc: str
    title: str
    why: str
    """What the router does, and for what reason."""
    case: list[Case]

    def listed(self) -> "Iterator[Listed]":
        return (Listed(self, case) for case in self.case)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    row: list[Row]


@dataclass(frozen=True)
class Listed:
    row: Row
    case: Case

    @property
    def id(self) -> str:
        return f"{self.row.id}-{self.case.name}" if self.case.name else self.row.id

    @property
    def title(self) -> str:
        return self.case.title or self.row.title


def rows(*tables: str) -> list[Row]:
    """Of these tables, or of all."""
    folder = Path(__file__).parent
    read = (msgspec.toml.decode((folder / name).read_bytes(), type=Table) for name in tables or TABLES)
    return [row for table in read for row in table.row]


def listed() -> Iterator[Listed]:
    for row in rows():
        yield from row.listed()


def raw(text: str) -> bytes:
    """The bytes that a text of a table stands for."""
    one_line = "".join(text.splitlines())
    repeated = REPEATED.sub(lambda found: found[1] * int(found[2]), one_line)
    return ESCAPE.sub(_unescaped, repeated).encode("latin-1")


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else NAMED[found[2]]
