"""Which version a user has, where an alias is sticky, and which unit they are where versions are compared. Pure.

A user's key is hashed with the alias's salt to a *place*, 64 bits. Some of these give the *slot*, by which a version is
picked, and others the *cell*, by which users are told from each other in what is counted: so the routers and whoever
reports of a user later know them alike, and nobody keeps a key.
"""

import hashlib
from collections.abc import Mapping

from hotswap.model import FULL_WEIGHT

SLOTS = 10_000
"""A hundredth of a percent each."""
CELLS = 65_536
"""Users that share one are one unit; `hotswap.usage` estimates how many they are."""
GROUPS = 128
"""Of users, by their cells: what users did is summed within them, and how these sums differ tells how users do."""
GROUP_CELLS = CELLS // GROUPS
SALT_BYTES = 64
"""The longest key that BLAKE2b takes."""


def place(key: str, *, salt: str) -> int:
    """Evenly spread, the same everywhere, another one with another salt."""
    secret = salt.encode()[:SALT_BYTES]
    digest = hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8, key=secret).digest()
    return int.from_bytes(digest, "big")


def slot(place: int) -> int:
    return place % SLOTS


def cell(place: int) -> int:
    return place // SLOTS % CELLS


def pick(weights: Mapping[int, int], at: int, *, stable: int | None) -> int:
    """The version of a slot. The newest versions take slots from 0 up and the stable one the rest, so that who has seen
    a new version keeps it while its weight grows."""
    last = stable if stable is not None and stable in weights else min(weights)
    order = sorted((version for version in weights if version != last), reverse=True)
    end = 0
    for version in order:
        end += weights[version] * (SLOTS // FULL_WEIGHT)
        if at < end:
            return version
    return last
