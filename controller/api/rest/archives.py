"""Takes an archive that comes as the body of a request: into a file, counted and digested on the way.

One that was announced by its digest goes into the controller's uploads, where what was cut off can be gone on with;
another one into a file that ends with the request.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from controller.access import Access
from controller.api.rest.reading import check_media_type, next_chunk, too_large
from controller.api.rest.route import Archive
from controller.api.rest.sending import Sending
from controller.artifacts import CHUNK, LARGEST
from controller.publishing import Publication
from hotswap.archive import read_file
from hotswap.errors import Conflict, Invalid
from hotswap.manifest import FILE

MEDIA_TYPES = ("application/gzip", "application/octet-stream")
LARGEST_MANIFEST = 256 * 1024
"""Bytes."""


@asynccontextmanager
async def received(request: web.Request, sending: Sending, access: Access) -> AsyncIterator[Archive]:
    """The archive, until the context ends."""
    check_media_type(request, MEDIA_TYPES, has_body=True)
    if (request.content_length or 0) > LARGEST:
        raise too_large(LARGEST)
    if sending.announced:
        yield await _gone_on_with(request, sending, access)
        return
    with tempfile.TemporaryDirectory(prefix="hotswap-archive-") as room:
        yield await _written(request, Path(room, "archive.tar.gz"))


async def _gone_on_with(request: web.Request, sending: Sending, access: Access) -> Archive:
    if not sending.sha256 or not sending.size:
        raise Invalid("an archive is announced by its sha256 and its size", hint="give both parameters, or neither")
    path = await access.upload(
        sending.function, _body(request), sha256=sending.sha256, size=sending.size, offset=sending.offset
    )
    return Archive(path, sending.sha256, sending.size, uploaded=True)


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    while chunk := await next_chunk(request):
        yield chunk


async def _written(request: web.Request, path: Path) -> Archive:
    digest, size = hashlib.sha256(), 0
    with await asyncio.to_thread(path.open, "xb") as file:
        async for chunk in _body(request):
            size += len(chunk)
            if size > LARGEST:
                raise too_large(LARGEST)
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    return Archive(path, digest.hexdigest(), size)


async def publication(archive: Archive, *, who: str) -> Publication:
    """With the manifest that is in it. What has none is not worth going on with."""
    try:
        toml = await _manifest(archive.path)
    except Invalid:
        if archive.uploaded:
            await asyncio.to_thread(archive.path.unlink, missing_ok=True)
        raise
    offset = archive.size if archive.uploaded else 0
    return Publication(manifest_toml=toml, sha256=archive.sha256, size=archive.size, who=who, offset=offset)


async def _manifest(path: Path) -> str:
    try:
        content = await asyncio.to_thread(read_file, path, FILE, most=LARGEST_MANIFEST)
    except FileNotFoundError:
        raise Conflict("the archive was published by another request at the same time", hint="send it again") from None
    if content is None:
        raise Invalid(f"the archive has no {FILE}", hint="pack the folder that has it: tar czf - -C FOLDER .")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Invalid(f"{FILE} is not UTF-8") from None


async def chunks(archive: Archive) -> AsyncIterator[bytes]:
    """What is not in the controller's uploads yet."""
    if archive.uploaded:
        return
    with await asyncio.to_thread(archive.path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
