"""The files of the versions, by digest: fetched from the leading controller once, verified, unpacked, kept.

What is in the cache needs nobody: a node whose controller is away starts what it has started before. A fetch that is
cut off goes on where it was, also after the agent has ended. What does not run here any more is kept as long as there
is space for it, since a rollback wants it soon.
"""

import asyncio
import logging
import os
import secrets
import shutil
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Set
from pathlib import Path

from agent import packages
from hotswap import archive
from hotswap.errors import Invalid, Unavailable
from hotswap.rpc import controller_pb2, controller_pb2_grpc, wire
from hotswap.rpc.callers import credentials

log = logging.getLogger(__name__)

ATTEMPTS = 6
"""In a row that bring not a byte."""
FIRST_PAUSE = 0.2
"""Seconds before the second attempt; doubled for each after it."""
FETCH_LIMIT = 300.0
"""Seconds for one attempt."""
PART_KEPT_FOR = 24 * 3600.0
"""Seconds that a fetch which was given up may be gone on with."""
TIDY_EVERY = 60.0

Leader = Callable[[], Awaitable[str]]
"""The gRPC address of the controller that leads; raises `Unavailable` when none does."""


class Artifacts:
    def __init__(self, folder: Path, leader: Leader, *, bytecode: Path, token: str = "") -> None:
        """`bytecode` is the folder in which the compiled modules of each are, in one of its name.

        `token` is shown to the controller; empty where it asks for none.
        """
        self._folder = folder
        self._leader = leader
        self._bytecode = bytecode
        self._packages = folder.with_name("packages")
        self._sharing = asyncio.Lock()
        """What is shared is seen to be used a moment later."""
        self._credentials = credentials(token)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)

    async def folder(self, digest: str, size: int) -> Path:
        """The unpacked files; raises `Invalid` for content that is not what it should be, else `Unavailable`.

        Callers of one digest share one fetch: the others wait, then find it there.
        """
        target = self._folder / digest
        async with self._locks[digest]:
            if not await asyncio.to_thread(target.exists):
                await self._fetch(digest, size, target)
            os.utime(target)
        return target

    def path(self, digest: str) -> Path:
        """Where its files are once they were asked for."""
        return self._folder / digest

    async def tidy(self, *, in_use: Callable[[], Set[str]], space: int) -> None:
        """Again and again removes the files of what is not in use, the longest unused first, down to `space` bytes.

        Never returns. `in_use` has to name a digest from before `folder` is asked for it.
        """
        while True:
            await asyncio.sleep(TIDY_EVERY)
            try:
                await self.remove_unused(in_use=in_use, space=space)
            except OSError as error:
                log.warning("the files of versions that do not run here cannot be removed: %s", error)

    async def remove_unused(self, *, in_use: Callable[[], Set[str]], space: int) -> None:
        """Once."""
        used = in_use()
        left = 0
        for folder, size in await asyncio.to_thread(_by_last_use, self._folder):
            if folder.name in used:
                continue
            left += size
            if left > space:
                await self._remove(folder, in_use)
        async with self._sharing:
            await asyncio.to_thread(self._remove_packages)

    async def _remove(self, folder: Path, in_use: Callable[[], Set[str]]) -> None:
        async with self._locks[folder.name]:
            if folder.name in in_use():
                return
            gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
            os.rename(folder, gone)
        await asyncio.to_thread(shutil.rmtree, gone)
        await asyncio.to_thread(shutil.rmtree, self._bytecode / folder.name, ignore_errors=True)
        log.info("removed the files of artifact %s, which does not run here", folder.name[:12])

    def _remove_packages(self) -> None:
        codes = [folder for folder in self._folder.iterdir() if not folder.name.startswith(".")]
        for gone in packages.remove_unused(self._packages, codes):
            shutil.rmtree(self._bytecode / gone, ignore_errors=True)

    async def _fetch(self, digest: str, size: int, target: Path) -> None:
        part = self._folder / f".{digest}.part"
        attempt = 0
        while True:
            before = _size(part)
            try:
                async with asyncio.timeout(FETCH_LIMIT):
                    await self._download(digest, size, part)
                await self._unpack(part, target)
            except (Unavailable, TimeoutError) as error:
                attempt = 0 if _size(part) > before else attempt + 1
                if attempt == ATTEMPTS:
                    raise Unavailable(f"artifact {digest[:12]} cannot be fetched: {error}") from error
                log.warning("artifact %s: %s; trying again", digest[:12], error)
                await asyncio.sleep(FIRST_PAUSE * 2**attempt)
            except Invalid:
                part.unlink()
                raise
            else:
                part.unlink()
                return

    async def _unpack(self, part: Path, target: Path) -> None:
        """Under its name only when its packages are shared: what is cut off begins anew."""
        room = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            await asyncio.to_thread(archive.unpack, part, room)
            async with self._sharing:
                await asyncio.to_thread(packages.share, room, self._packages)
                room.rename(target)
        finally:
            await asyncio.to_thread(shutil.rmtree, room, ignore_errors=True)

    async def _download(self, digest: str, size: int, part: Path) -> None:
        """Goes on with what is there of it. What was there and turns out to be wrong is fetched anew."""
        address = await self._leader()
        resumed = _size(part) > 0
        await self._append(address, digest, size, part)
        told = await asyncio.to_thread(archive.digest, part)
        received = _size(part)
        if received == size and told == digest:
            return
        if resumed:
            await asyncio.to_thread(part.unlink)
            raise Unavailable("what was fetched of it before is damaged")
        raise Invalid(
            f"artifact {digest[:12]} of {size} bytes arrived from {address} as {received} bytes "
            f"with sha256 {told[:12]}: it is refused",
            hint="the controller's copy is damaged: remove it there, and publish the version again",
        )

    async def _append(self, address: str, digest: str, size: int, part: Path) -> None:
        """Until it has `size` bytes, or one more where the controller has more."""
        async with wire.channel(address) as channel:
            stub = controller_pb2_grpc.ControllerStub(channel)
            with wire.calling(f"the controller at {address}"), part.open("ab") as file:
                request = controller_pb2.FetchArtifactRequest(sha256=digest, offset=file.tell())
                async for chunk in stub.FetchArtifact(request, metadata=self._credentials):
                    file.write(chunk.content[: size + 1 - file.tell()])
                    if file.tell() > size:
                        break


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _by_last_use(folder: Path) -> list[tuple[Path, int]]:
    """The unpacked ones with their bytes, the last used first; removes fetches that nobody goes on with."""
    found: list[tuple[float, Path, int]] = []
    for entry in folder.iterdir():
        used = entry.stat().st_mtime
        if entry.name.startswith("."):
            if entry.is_file() and used < time.time() - PART_KEPT_FOR:
                entry.unlink()
        else:
            found.append((used, entry, sum(file.lstat().st_size for file in entry.rglob("*"))))
    return [(entry, size) for _, entry, size in sorted(found, reverse=True)]
