"""Takes an archive that comes as the body of a request: into a file, counted and digested on the way."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from controller.api.rest.reading import check_media_type, next_chunk, too_large
from controller.api.rest.route import Archive
from controller.artifacts import CHUNK, LARGEST
from controller.publishing import Publication
from hotswap.archive import read_file
from hotswap.errors import Invalid
from hotswap.manifest import FILE

MEDIA_TYPES = ("application/gzip", "application/octet-stream")
LARGEST_MANIFEST = 256 * 1024
"""Bytes."""


@asynccontextmanager
async def received(request: web.Request) -> AsyncIterator[Archive]:
    """The archive, until the context ends."""
    check_media_type(request, MEDIA_TYPES, has_body=True)
    if (request.content_length or 0) > LARGEST:
        raise too_large(LARGEST)
    with tempfile.TemporaryDirectory(prefix="hotswap-archive-") as room:
        yield await _written(request, Path(room, "archive.tar.gz"))


async def _written(request: web.Request, path: Path) -> Archive:
    digest, size = hashlib.sha256(), 0
    with await asyncio.to_thread(path.open, "xb") as file:
        while chunk := await next_chunk(request):
            size += len(chunk)
            if size > LARGEST:
                raise too_large(LARGEST)
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    return Archive(path, digest.hexdigest(), size)


async def publication(archive: Archive, *, who: str) -> Publication:
    """With the manifest that is in it."""
    content = await asyncio.to_thread(read_file, archive.path, FILE, most=LARGEST_MANIFEST)
    if content is None:
        raise Invalid(f"the archive has no {FILE}", hint="pack the folder that has it: tar czf - -C FOLDER .")
    try:
        toml = content.decode()
    except UnicodeDecodeError:
        raise Invalid(f"{FILE} is not UTF-8") from None
    return Publication(manifest_toml=toml, sha256=archive.sha256, size=archive.size, who=who)


async def chunks(archive: Archive) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(archive.path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
