"""The files of the versions, by digest: fetched from the leading controller once, verified, unpacked, kept.

What is in the cache needs nobody: a node whose controller is away starts what it has started before.
"""

import asyncio
import hashlib
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from hotswap import archive
from hotswap.errors import Invalid, Unavailable
from hotswap.rpc import controller_pb2, controller_pb2_grpc, wire
from hotswap.rpc.callers import credentials

log = logging.getLogger(__name__)

ATTEMPTS = 6
FIRST_PAUSE = 0.2
"""Seconds before the second attempt; doubled for each after it."""
FETCH_LIMIT = 300.0
"""Seconds for one attempt."""

Leader = Callable[[], Awaitable[str]]
"""The gRPC address of the controller that leads; raises `Unavailable` when none does."""


class Artifacts:
    def __init__(self, folder: Path, leader: Leader, *, token: str = "") -> None:
        """`token` is shown to the controller; empty where it asks for none."""
        self._folder = folder
        self._leader = leader
        self._credentials = credentials(token)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.part"):
            leftover.unlink()

    async def folder(self, digest: str, size: int) -> Path:
        """The unpacked files; raises `Invalid` for content that is not what it should be, else `Unavailable`.

        Callers of one digest share one fetch: the others wait, then find it there.
        """
        target = self._folder / digest
        async with self._locks[digest]:
            if not await asyncio.to_thread(target.exists):
                await self._fetch(digest, size, target)
        return target

    async def _fetch(self, digest: str, size: int, target: Path) -> None:
        for attempt in range(ATTEMPTS):
            part = self._folder / f".{digest}.{secrets.token_hex(4)}.part"
            try:
                async with asyncio.timeout(FETCH_LIMIT):
                    await self._download(digest, size, part)
                await asyncio.to_thread(archive.unpack, part, target)
            except (Unavailable, TimeoutError) as error:
                if attempt + 1 == ATTEMPTS:
                    raise Unavailable(f"artifact {digest[:12]} cannot be fetched: {error}") from error
                log.warning("artifact %s: %s; trying again", digest[:12], error)
                await asyncio.sleep(FIRST_PAUSE * 2**attempt)
            else:
                return
            finally:
                with suppress(FileNotFoundError):
                    part.unlink()

    async def _download(self, digest: str, size: int, part: Path) -> None:
        address = await self._leader()
        told = hashlib.sha256()
        received = 0
        async with wire.channel(address) as channel:
            stub = controller_pb2_grpc.ControllerStub(channel)
            with wire.calling(f"the controller at {address}"), part.open("xb") as file:
                request = controller_pb2.FetchArtifactRequest(sha256=digest)
                async for chunk in stub.FetchArtifact(request, metadata=self._credentials):
                    received += len(chunk.content)
                    if received > size:
                        break
                    told.update(chunk.content)
                    file.write(chunk.content)
        if received != size or told.hexdigest() != digest:
            what = f"{min(received, size + 1)} bytes with sha256 {told.hexdigest()[:12]}"
            raise Invalid(
                f"artifact {digest[:12]} of {size} bytes arrived from {address} as {what}: it is refused",
                hint="the controller's copy is damaged; publish the version again",
            )
