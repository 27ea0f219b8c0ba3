"""The archives of the published versions: files in a folder, each named by its sha256.

A file appears under its name only when it is whole, verified and on the disk; so whatever is there may be served.
"""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import IO

from hotswap.archive import inspect
from hotswap.errors import Invalid, NotFound

CHUNK = 256 * 1024
"""Bytes that are read and sent at a time."""
LARGEST = 512 * 1024 * 1024
"""Bytes that an archive may have."""
DIGEST = re.compile(r"[0-9a-f]{64}")


class Artifacts:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def receive(self, chunks: AsyncIterable[bytes], *, sha256: str, size: int) -> None:
        """Keeps what comes, if it is what was announced and a sound archive; raises `Invalid` otherwise."""
        target = self._path(sha256)
        if size > LARGEST:
            raise Invalid(f"the archive has {size} bytes; it may have {LARGEST}")
        self._folder.mkdir(parents=True, exist_ok=True)
        room = self._folder / f".{sha256[:12]}.{secrets.token_hex(4)}"
        try:
            with await asyncio.to_thread(room.open, "xb") as file:
                await _write(file, chunks, sha256=sha256, size=size)
                await asyncio.to_thread(os.fsync, file.fileno())
            await asyncio.to_thread(inspect, room)
            room.rename(target)
            await asyncio.to_thread(_sync_folder, self._folder)
        finally:
            room.unlink(missing_ok=True)

    async def read(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The archive from that byte on, in chunks; raises `NotFound`."""
        try:
            file = await asyncio.to_thread(self._path(sha256).open, "rb")
        except FileNotFoundError:
            raise NotFound(f"there is no artifact {sha256}", hint="publish the version again") from None
        with file:
            file.seek(offset)
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk

    def _path(self, sha256: str) -> Path:
        if not DIGEST.fullmatch(sha256):
            raise Invalid(f'"{sha256}" is not a sha256 in hex')
        return self._folder / sha256


async def _write(file: IO[bytes], chunks: AsyncIterable[bytes], *, sha256: str, size: int) -> None:
    digest, received = hashlib.sha256(), 0
    async for chunk in chunks:
        received += len(chunk)
        if received > size:
            raise Invalid(f"the archive has more than the {size} bytes that were announced")
        digest.update(chunk)
        await asyncio.to_thread(file.write, chunk)
    file.flush()
    if received < size:
        raise Invalid(f"the archive ended after {received} of {size} bytes", hint="publish it again")
    if digest.hexdigest() != sha256:
        raise Invalid(f"the archive is not the one announced: its sha256 is {digest.hexdigest()}, not {sha256}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
