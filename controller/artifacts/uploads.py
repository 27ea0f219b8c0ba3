"""What has come of archives that are not whole yet: files of this controller's, so that a client that was cut off goes
on where it was, and a controller that was killed has lost nothing and half-published nothing.

A file belongs to a function and to the digest that was announced: whoever may publish the one may go on with the other.
Of two that send the same at once the later one goes on, since the earlier is mostly one whose end was not noticed yet.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controller.artifacts.store import check_digest
from hotswap.archive import digest, inspect
from hotswap.errors import Conflict, Invalid

log = logging.getLogger(__name__)

KEPT_FOR = 24 * 3600.0
"""Seconds after its last byte that an upload waits to be gone on with."""
SWEEP_EVERY = 3600.0


@dataclass(eq=False, slots=True)
class Upload:
    """A file that grows."""

    path: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held for what may not be mixed with what another sender of the same does."""
    sender: object = None
    """Who writes now."""
    resumed: bool = True
    """Some of it came by an earlier call, perhaps to an earlier controller."""

    @property
    def received(self) -> int:
        """Bytes."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def check_sender(self, sender: object) -> None:
        if self.sender is not sender:
            raise Conflict("the upload is gone on with by another call", hint="publish it again")


class Uploads:
    def __init__(self, folder: Path, *, controller: str) -> None:
        """Controllers that share the folder have files of their own in it."""
        self._folder = folder
        self._controller = controller
        self._uploads: dict[Path, Upload] = {}

    def of(self, function: str, sha256: str) -> Upload:
        whose = hashlib.sha256(f"{self._controller}\n{function}".encode()).hexdigest()[:16]
        path = self._folder / f".{check_digest(sha256)}.{whose}.part"
        return self._uploads.setdefault(path, Upload(path))

    async def write(self, upload: Upload, chunks: AsyncIterable[bytes], *, size: int, offset: int) -> None:
        """Goes on at `offset` until there are `size` bytes. Raises `Conflict` where another offset is the right one.

        What came before the sender was cut off stays; what is wrong is removed.
        """
        me = object()
        async with upload.lock:
            if offset > (received := upload.received):
                raise Conflict(
                    f"{received} bytes of the archive are here, not {offset}", hint=f"send it from byte {received} on"
                )
            upload.sender = me
            if offset < size:
                upload.resumed = offset > 0
            await asyncio.to_thread(self._begin, upload.path, offset)
        try:
            async for chunk in chunks:
                async with upload.lock:
                    offset += len(chunk)
                    upload.check_sender(me)
                    if offset > size:
                        upload.path.unlink()
                        raise Invalid(f"the archive has more than the {size} bytes that were announced")
                    await asyncio.to_thread(_append, upload.path, chunk)
            async with upload.lock:
                upload.check_sender(me)
                if offset < size:
                    upload.path.unlink()
                    raise Invalid(f"the archive ended after {offset} of {size} bytes", hint="publish it again")
        finally:
            if upload.sender is me:
                upload.sender = None

    @asynccontextmanager
    async def whole(self, upload: Upload, *, sha256: str, size: int) -> AsyncIterator[Path]:
        """The file, verified, and not to be written by anybody until the context ends; removed if it is wrong.

        Raises `Invalid`, or `Conflict` if what was here before is to blame, and so is worth another try.
        """
        async with upload.lock:
            upload.sender = None
            if upload.received != size:
                raise Conflict(f"{upload.received} of {size} bytes of the archive are here", hint="publish it again")
            try:
                await asyncio.to_thread(_verify, upload.path, sha256=sha256, resumed=upload.resumed)
            except (Conflict, Invalid):
                upload.path.unlink()
                raise
            yield upload.path

    def _begin(self, path: Path, offset: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(offset)

    async def sweep(self) -> None:
        """Removes, again and again, what nobody goes on with; never returns."""
        while True:
            try:
                await asyncio.to_thread(self._remove_old, time.time() - KEPT_FOR)
                self._forget()
            except OSError as error:
                log.warning("uploads that were given up cannot be removed: %s", error)
            await asyncio.sleep(SWEEP_EVERY)

    def _forget(self) -> None:
        """What was published or removed, and is not being sent."""
        for path, upload in [*self._uploads.items()]:
            if upload.sender is None and not upload.lock.locked() and not upload.received:
                del self._uploads[path]

    def _remove_old(self, before: float) -> None:
        for path in self._folder.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):  # another controller has swept it
                if path.stat().st_mtime < before:
                    path.unlink()


def _append(path: Path, chunk: bytes) -> None:
    with path.open("ab") as file:
        file.write(chunk)


def _verify(path: Path, *, sha256: str, resumed: bool) -> None:
    found = digest(path)
    if found != sha256 and resumed:
        raise Conflict("what was kept of an upload that was cut off is damaged", hint="publish it again")
    if found != sha256:
        raise Invalid(f"the archive is not the one announced: its sha256 is {found}, not {sha256}")
    with path.open("rb") as file:
        os.fsync(file.fileno())
    inspect(path)
