"""Archives in a folder of this machine, or of one that all controllers mount."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from controller.artifacts.store import CHUNK, DIGEST, Kept, check_digest, missing


class FolderStore:
    """Files named by their sha256. A file gets its name when it is whole and on the disk, by a rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, sha256: str, file: Path) -> None:
        """The file has to be on the same file system."""
        await asyncio.to_thread(self._put, file, self._path(sha256))

    def _put(self, file: Path, target: Path) -> None:
        with file.open("rb") as content:
            os.fsync(content.fileno())
        os.utime(file)
        file.rename(target)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def get(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self._path(sha256).open, "rb")
        except FileNotFoundError:
            raise missing(sha256) from None
        with file:
            file.seek(offset)
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk

    async def has(self, sha256: str) -> bool:
        return await asyncio.to_thread(self._path(sha256).exists)

    async def delete(self, sha256: str) -> None:
        await asyncio.to_thread(self._path(sha256).unlink, missing_ok=True)

    async def all(self) -> AsyncIterator[Kept]:
        for kept in await asyncio.to_thread(self._list):
            yield kept

    def _list(self) -> list[Kept]:
        if not self._folder.exists():
            return []
        with os.scandir(self._folder) as entries:
            return [
                Kept(entry.name, datetime.fromtimestamp(entry.stat().st_mtime, UTC))
                for entry in entries
                if DIGEST.fullmatch(entry.name)
            ]

    def _path(self, sha256: str) -> Path:
        return self._folder / check_digest(sha256)
