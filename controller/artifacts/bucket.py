"""Archives in a bucket of S3, or of anything that speaks as S3 does.

The store does the work of keeping things whole: an object appears when its upload is completed, and one that was begun
by a controller that died is thrown away by the bucket's own rule for incomplete uploads. Who we are there is not in the
URL, which is listed with the process, but in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or with the machine.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from controller.artifacts.store import CHUNK, DIGEST, Kept, check_digest, missing
from hotswap.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from obstore.store import S3Store

PART = 8 << 20
"""Bytes of an upload that are sent in one request; S3 takes no less than 5 MiB."""
PARTS_AT_ONCE = 4
"""With `PART` what an upload takes of the memory."""
CONNECT_LIMIT = timedelta(seconds=5)
REQUEST_LIMIT = timedelta(minutes=5)
"""For one request with its body."""
TRIES_LIMIT = timedelta(seconds=30)
"""After which a request that failed is not sent again."""
OPTIONS = ("endpoint", "region")
EXAMPLE = "for example s3://bucket/prefix?endpoint=https://s3.example.org&region=eu-1"


class BucketStore:
    def __init__(self, url: str) -> None:
        """`s3://bucket[/prefix][?endpoint=URL&region=NAME]`; raises `Invalid`, also where obstore is missing."""
        self._url = url
        self._store = _connected(url)

    async def put(self, sha256: str, file: Path) -> None:
        import obstore

        with self._answering():
            await obstore.put_async(
                self._store, check_digest(sha256), file, chunk_size=PART, max_concurrency=PARTS_AT_ONCE
            )

    async def get(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        import obstore

        with self._answering():
            try:
                meta = await obstore.head_async(self._store, check_digest(sha256))
                if offset >= meta["size"]:  # a range that is empty is refused by S3
                    return
                found = await obstore.get_async(self._store, sha256, options={"range": {"offset": offset}})
            except FileNotFoundError:
                raise missing(sha256) from None
            async for content in found.stream(min_chunk_size=CHUNK):
                yield bytes(content)

    async def has(self, sha256: str) -> bool:
        import obstore

        with self._answering():
            try:
                await obstore.head_async(self._store, check_digest(sha256))
            except FileNotFoundError:
                return False
            return True

    async def delete(self, sha256: str) -> None:
        import obstore

        with self._answering():
            await obstore.delete_async(self._store, check_digest(sha256))

    async def all(self) -> AsyncIterator[Kept]:
        import obstore

        with self._answering():
            async for batch in obstore.list(self._store):
                for meta in batch:
                    if DIGEST.fullmatch(meta["path"]):
                        yield Kept(meta["path"], meta["last_modified"])

    @contextmanager
    def _answering(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise Unavailable(
                f"the store of artifacts at {self._url} does not answer as it should: {reason}",
                hint="see that the bucket is there, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are right",
            ) from error


def _connected(url: str) -> "S3Store":
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError:
        raise Invalid(
            f"artifacts cannot be kept at {url}: the package obstore is not installed",
            hint="install it: pip install 'hotswap[s3]'",
        ) from None
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not parts.hostname or parts.username or {*options} - {*OPTIONS}:
        raise Invalid(f"{url} is no bucket with at most the options {' and '.join(OPTIONS)}", hint=EXAMPLE)
    endpoint = options.get("endpoint")
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        config=options,  # type: ignore[arg-type] # of the names that were checked
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": CONNECT_LIMIT,
            "timeout": REQUEST_LIMIT,
        },
        retry_config={"retry_timeout": TRIES_LIMIT},
    )
