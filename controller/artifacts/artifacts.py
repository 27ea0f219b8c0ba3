"""Archives as the controller takes them in and hands them out: whatever is in the store was verified."""

from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

from controller.artifacts.bucket import BucketStore
from controller.artifacts.folder import FolderStore
from controller.artifacts.store import CHUNK, ArtifactStore, check_digest
from controller.artifacts.uploads import Uploads
from hotswap.errors import Invalid

__all__ = ["CHUNK", "LARGEST", "Artifacts", "opened"]

LARGEST = 512 * 1024 * 1024
"""Bytes that an archive may have."""


class Artifacts:
    def __init__(self, *, store: ArtifactStore, uploads: Uploads) -> None:
        self.store = store
        self.uploads = uploads

    def received(self, function: str, sha256: str) -> int:
        """Bytes that are here of an archive that is being sent."""
        return self.uploads.of(function, sha256).received

    async def upload(
        self, function: str, chunks: AsyncIterable[bytes], *, sha256: str, size: int, offset: int = 0
    ) -> Path:
        """Takes in what comes from byte `offset` on, and gives the file that it is in; see `Uploads.write`."""
        check_digest(sha256)
        if size > LARGEST:
            raise Invalid(f"the archive has {size} bytes; it may have {LARGEST}")
        upload = self.uploads.of(function, sha256)
        await self.uploads.write(upload, chunks, size=size, offset=offset)
        return upload.path

    async def receive(
        self, function: str, chunks: AsyncIterable[bytes], *, sha256: str, size: int, offset: int = 0
    ) -> None:
        """Keeps what comes, if it is what was announced and a sound archive; raises `Invalid` otherwise."""
        await self.upload(function, chunks, sha256=sha256, size=size, offset=offset)
        upload = self.uploads.of(function, sha256)
        async with self.uploads.whole(upload, sha256=sha256, size=size) as file:
            await self.store.put(sha256, file)
            file.unlink(missing_ok=True)

    async def read(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The archive from that byte on, in chunks; raises `NotFound`."""
        async for chunk in self.store.get(sha256, offset=offset):
            yield chunk


def opened(folder: Path, *, bucket: str = "", controller: str) -> Artifacts:
    """Kept in the bucket where one is named, else in the folder; what is not whole yet is in the folder always."""
    store: ArtifactStore = BucketStore(bucket) if bucket else FolderStore(folder)
    return Artifacts(store=store, uploads=Uploads(folder, controller=controller))
