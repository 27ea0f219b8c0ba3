"""What the controller relies on, of a folder and of a bucket of a real server that speaks as S3 does."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.artifacts.bucket import PART, BucketStore
from controller.artifacts.folder import FolderStore
from controller.artifacts.store import CHUNK, ArtifactStore
from hotswap.errors import Invalid, NotFound, Unavailable
from tests.bucket import bucket_at, s3_server

CONTENT = os.urandom(2 * CHUNK + 100)
ABSENT = "f" * 64


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    if request.param == "folder":
        return FolderStore(tmp_path)
    url: str = request.getfixturevalue("server")
    return BucketStore(bucket_at(url, f"b-{secrets.token_hex(4)}", monkeypatch))


async def put(store: ArtifactStore, folder: Path, content: bytes = CONTENT) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    file = folder / ".incoming"
    file.write_bytes(content)
    await store.put(sha256, file)
    return sha256


async def got(store: ArtifactStore, sha256: str, *, offset: int = 0) -> bytes:
    return b"".join([chunk async for chunk in store.get(sha256, offset=offset)])


@pytest.mark.parametrize("offset", [0, 1, CHUNK, len(CONTENT) - 1, len(CONTENT), len(CONTENT) + 7])
async def test_what_was_put_can_be_had_from_any_byte(store: ArtifactStore, tmp_path: Path, offset: int) -> None:
    sha256 = await put(store, tmp_path)
    assert await got(store, sha256, offset=offset) == CONTENT[offset:]


async def test_what_takes_several_requests_arrives_whole(store: ArtifactStore, tmp_path: Path) -> None:
    content = os.urandom(PART + 1000) + bytes(PART)
    sha256 = await put(store, tmp_path, content)
    assert hashlib.sha256(await got(store, sha256)).hexdigest() == sha256


async def test_it_is_known_whether_something_is_there(store: ArtifactStore, tmp_path: Path) -> None:
    sha256 = await put(store, tmp_path)
    assert await store.has(sha256)
    assert not await store.has(ABSENT)


async def test_what_is_not_there_is_not_found(store: ArtifactStore) -> None:
    with pytest.raises(NotFound, match="there is no artifact"):
        await got(store, ABSENT)


async def test_what_was_deleted_is_gone_and_may_be_deleted_again(store: ArtifactStore, tmp_path: Path) -> None:
    sha256 = await put(store, tmp_path)
    await store.delete(sha256)
    await store.delete(sha256)
    assert not await store.has(sha256)
    assert [kept async for kept in store.all()] == []


async def test_all_are_listed_with_when_they_were_put_last(store: ArtifactStore, tmp_path: Path) -> None:
    put_ones = {await put(store, tmp_path, content) for content in (b"one", b"two", b"two", b"three")}
    (tmp_path / "not-an-artifact").write_text("of somebody else")
    listed = [kept async for kept in store.all()]
    assert len(listed) == 3
    assert {kept.sha256 for kept in listed} == put_ones
    assert all(abs(kept.since - datetime.now(UTC)) < timedelta(minutes=10) for kept in listed)


async def test_what_is_put_again_is_new_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    sha256 = await put(store, tmp_path)
    os.utime(tmp_path / sha256, (0, 0))
    await put(store, tmp_path)
    [kept] = [kept async for kept in store.all()]
    assert kept.since > datetime.now(UTC) - timedelta(minutes=10)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "F" * 64, "f" * 63])
async def test_what_is_no_digest_names_nothing(store: ArtifactStore, name: str) -> None:
    with pytest.raises(Invalid, match="is not a sha256"):
        await store.has(name)
    with pytest.raises(Invalid, match="is not a sha256"):
        await got(store, name)
    with pytest.raises(Invalid, match="is not a sha256"):
        await store.delete(name)


async def test_a_bucket_that_is_not_there_is_told(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = bucket_at(server, "there", monkeypatch)
    store = BucketStore(url.replace("there", "elsewhere"))
    with pytest.raises(Unavailable, match=r"artifacts at s3://elsewhere/hotswap\?.* does not answer as it should"):
        await put(store, tmp_path)


async def test_what_shares_a_bucket_under_another_prefix_is_not_seen(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket_at(server, "shared", monkeypatch)
    sha256 = await put(BucketStore(url), tmp_path)
    other = BucketStore(url.replace("/hotswap?", "/other?"))
    assert not await other.has(sha256)
    assert [kept async for kept in other.all()] == []


@pytest.mark.parametrize(
    "url", ["s3://", "http://bucket", "s3://bucket?colour=red", "s3://key:secret@bucket", "gs://bucket"]
)
def test_a_url_that_names_no_bucket_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(Invalid, match="is no bucket") as refused:
        BucketStore(url)
    assert "s3://bucket/prefix" in refused.value.hint


def test_where_the_client_is_missing_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(Invalid, match="obstore is not installed") as refused:
        BucketStore("s3://bucket")
    assert "hotswap[s3]" in refused.value.hint
