"""Ids for requests that came without one."""

import random
from binascii import hexlify
from typing import Final

DRAWN: Final = 64
"""Made at a time: to ask for random bits and to write them as digits costs more than the digits do."""
BITS: Final = 128
DIGITS: Final = BITS // 4


class Ids:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._drawn = b""
        self._at = 0

    def next(self) -> bytes:
        """32 hexadecimal digits."""
        at = self._at
        if at >= len(self._drawn):
            self._drawn = hexlify(self._rng.getrandbits(DRAWN * BITS).to_bytes(DRAWN * BITS // 8, "big"))
            at = 0
        self._at = at + DIGITS
        return self._drawn[at : at + DIGITS]
