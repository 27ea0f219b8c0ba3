"""What the controller asks of a place that keeps archives by their sha256: a folder, or a bucket.

A store knows nothing of versions. It is given files that were verified, keeps each whole or not at all, and what has
begun to be kept and came to nothing is never seen under its name.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hotswap.errors import Invalid, NotFound

CHUNK = 256 * 1024
"""Bytes that are read and sent at a time."""
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    sha256: str
    since: datetime
    """When it was last put."""


class ArtifactStore(Protocol):
    """Raises `Invalid` for what is no digest, `Unavailable` where the store does not answer."""

    async def put(self, sha256: str, file: Path) -> None:
        """Keeps the content of the file, which is that digest's; the file may be gone afterwards.

        What is there already is put anew, so that its age begins again.
        """

    def get(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The content from that byte on, in chunks; raises `NotFound`."""

    async def has(self, sha256: str) -> bool: ...

    async def delete(self, sha256: str) -> None:
        """Does nothing where it is not there."""

    def all(self) -> AsyncIterator[Kept]: ...


def check_digest(sha256: str) -> str:
    if not DIGEST.fullmatch(sha256):
        raise Invalid(f'"{sha256}" is not a sha256 in hex')
    return sha256


def missing(sha256: str) -> NotFound:
    return NotFound(
        f"there is no artifact {sha256}",
        hint="publish the version again; several controllers have to share one --artifacts, a folder or a bucket",
    )
