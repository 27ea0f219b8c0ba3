"""How many bytes are read at a time: of a body no more than a stream may hold, each way.

Whoever takes what is read may be slow. What the kernel does not take of it has to be held, and no more is read then. So
a read that the kernel is sure to take may be large, which saves calls, and all others are small enough to be held.
"""

from typing import Final

from router.wire import Wire

HELD: Final = 65_536
"""Bytes of a body that are held, each way."""
FIRST: Final = HELD + 4_096
"""Bytes of a read that begins with a head, so that a message of 64 KiB is read at once."""
MOST_GATHERED: Final = HELD
"""Bytes of a body that is awaited whole before an instance is taken for it."""
LARGE: Final = 256_000
"""Bytes of a read that the kernel is sure to take."""
SHARE: Final = 2
"""The kernel counts what it keeps beside the bytes too, which is far less than as much again for large pieces,"""
BESIDE: Final = 4_096
"""and less than this for each that is small."""


def gathered(length: int | None) -> bool:
    """A sender that is slow keeps no instance from others then; and what is there whole can be sent again."""
    return length is not None and length <= MOST_GATHERED


class Ahead:
    """How much may be read at a time for one wire, while nothing waits to be written to it but what is read so."""

    def __init__(self, wire: Wire | None) -> None:
        self._wire = wire
        self._sure = 0
        """Bytes that the kernel takes, however slow the other side is."""

    def size(self) -> int:
        if self._sure < LARGE and self._wire is not None:
            self._sure = self._wire.space() // SHARE
        return LARGE if self._sure >= LARGE else HELD

    def written(self, length: int) -> None:
        self._sure -= length + BESIDE
