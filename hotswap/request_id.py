"""What a router writes into the ids of requests that it makes: which version was picked, by which weights, for whom.

    2f6b…e1-6.1234         version 6, picked under the weights that the alias got at revision 1234
    2f6b…e1-6.1234.0a3c    the same for a user in that cell, where the alias is sticky

So who learns later what came of an invocation need not know its user, and nobody has to remember ids.
"""

import re
from dataclasses import dataclass

from hotswap.users import CELLS

MARK = re.compile(r".*-([1-9][0-9]{0,8})\.([1-9][0-9]{0,18})(?:\.([0-9a-f]{4}))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Origin:
    version: int
    revision: int
    """Of the alias's weights."""
    cell: int | None
    """`None` where nobody is tied to a version."""


def mark(version: int, revision: int) -> bytes:
    """The end of an id, but for the cell."""
    return b"-%d.%d" % (version, revision)


def cell_mark(cell: int) -> bytes:
    return b".%04x" % (cell % CELLS)


def origin(request_id: str) -> Origin | None:
    """`None` of an id that its sender chose, or whose invocation had named its version."""
    found = MARK.fullmatch(request_id)
    if found is None:
        return None
    version, revision, cell = found.groups()
    return Origin(int(version), int(revision), None if cell is None else int(cell, 16))
