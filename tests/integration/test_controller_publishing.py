"""Publishing and fetching over gRPC, with real archives on a real disk."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from hotswap import archive
from hotswap.errors import Invalid, NotFound
from hotswap.memory import MemoryKV
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from tests.controller_platform import Platform

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub

MANIFEST = 'function = "greeter"\nkind = "handler"\nentrypoint = "app:handler"\n'
CHUNK = 1000


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator["ControllerAsyncStub"]:
    async with Platform(MemoryKV(), tmp_path).standing_by("c1") as stub:
        yield stub


def packed(folder: Path, code: str = "def handler(event, context): return 1") -> bytes:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "hotswap.toml").write_text(MANIFEST)
    (source / "app.py").write_text(code)
    archive.build(source, folder / "built.tar.gz")
    return (folder / "built.tar.gz").read_bytes()


async def publish(
    api: "ControllerAsyncStub",
    content: bytes,
    *,
    manifest: str = MANIFEST,
    sha256: str | None = None,
    size: int | None = None,
) -> pb.Version:
    header = pb.PublishHeader(
        manifest_toml=manifest,
        sha256=hashlib.sha256(content).hexdigest() if sha256 is None else sha256,
        size=len(content) if size is None else size,
    )

    async def messages() -> AsyncIterator[pb.PublishRequest]:
        yield pb.PublishRequest(header=header)
        for begin in range(0, len(content), CHUNK):
            yield pb.PublishRequest(chunk=content[begin : begin + CHUNK])

    with wire.calling("the controller"):
        return await api.Publish(messages())


async def fetch(api: "ControllerAsyncStub", sha256: str, *, offset: int = 0) -> bytes:
    request = pb.FetchArtifactRequest(sha256=sha256, offset=offset)
    with wire.calling("the controller"):
        return b"".join([chunk.content async for chunk in api.FetchArtifact(request)])


async def test_a_published_version_has_a_number_and_can_be_fetched_from_any_byte(
    api: "ControllerAsyncStub", tmp_path: Path
) -> None:
    content = packed(tmp_path)
    version = await publish(api, content)
    assert (version.function, version.number, version.size) == ("greeter", 1, len(content))
    assert await fetch(api, version.artifact) == content
    assert await fetch(api, version.artifact, offset=100) == content[100:]
    assert await fetch(api, version.artifact, offset=len(content)) == b""


async def test_publishing_the_same_again_gives_the_same_version(api: "ControllerAsyncStub", tmp_path: Path) -> None:
    first = await publish(api, packed(tmp_path))
    again = await publish(api, packed(tmp_path))
    other = await publish(api, packed(tmp_path, "def handler(event, context): return 2"))
    assert (first.number, again.number, other.number) == (1, 1, 2)
    back = await publish(api, packed(tmp_path))
    assert back.number == 1


async def test_another_manifest_makes_another_version(api: "ControllerAsyncStub", tmp_path: Path) -> None:
    content = packed(tmp_path)
    await publish(api, content)
    assert (await publish(api, content, manifest=MANIFEST + "concurrency = 2\n")).number == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "0" * 64}, "is not the one announced"),
        ({"sha256": "../../etc/passwd"}, "is not a sha256"),
        ({"size": 10}, "more than the 10 bytes"),
        ({"size": 10**6}, "ended after"),
        ({"size": 10**10}, "it may have"),
        ({"manifest": 'function = "greeter"\n'}, 'the field "kind" is missing'),
    ],
)
async def test_what_is_not_as_announced_is_refused_and_leaves_nothing(
    api: "ControllerAsyncStub", tmp_path: Path, change: dict[str, str], said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        await publish(api, packed(tmp_path), **change)  # type: ignore[arg-type] # each case has its own type
    assert list((tmp_path / "artifacts").glob("*")) == []
    with pytest.raises(NotFound), wire.calling("it"):
        await api.ListVersions(pb.ListVersionsRequest(function="greeter"))


async def test_a_sample_payload_that_its_schema_does_not_allow_is_refused(
    api: "ControllerAsyncStub", tmp_path: Path
) -> None:
    more = 'sample_payload = {}\nschemas.input = { required = ["name"] }\n'
    with pytest.raises(Invalid, match=r"does not allow sample_payload: .*'name' is a required property"):
        await publish(api, packed(tmp_path), manifest=MANIFEST + more)


async def test_what_is_no_archive_is_refused(api: "ControllerAsyncStub") -> None:
    with pytest.raises(Invalid):
        await publish(api, b"not an archive at all" * 100)


async def test_an_artifact_that_is_not_there_is_not_found(api: "ControllerAsyncStub") -> None:
    with pytest.raises(NotFound, match="no artifact"):
        await fetch(api, "f" * 64)
