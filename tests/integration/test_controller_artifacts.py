"""Archives at a controller: sent in parts, kept in a folder or a bucket, thrown away when no version names them."""

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from controller.artifacts import opened
from controller.artifacts.store import CHUNK, ArtifactStore, Kept
from controller.artifacts.uploads import KEPT_FOR
from controller.collector import GRACE, Collector
from controller.publishing import Publication, Publishing
from hotswap import archive
from hotswap.deployment import Leader
from hotswap.errors import Conflict, NotLeader
from hotswap.memory import MemoryKV
from hotswap.model import Sweep, Version
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from hotswap.settings import EtcdSettings
from hotswap.store import Fence, Store
from tests.agent_harness import until
from tests.bucket import bucket_at, s3_server
from tests.conditions import eventually
from tests.controller_platform import Platform
from tests.controller_process import ControllerProcess, running_controller
from tests.tcp_proxy import proxied

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub

FUNCTION = "greeter"
MIB = 1 << 20
MANIFEST = f'function = "{FUNCTION}"\nkind = "handler"\nentrypoint = "app:handler"\n'


def packed(folder: Path, *, filling: bytes = b"x") -> bytes:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "hotswap.toml").write_text(MANIFEST)
    (source / "app.py").write_text("def handler(event, context): return 1")
    (source / "filling").write_bytes(filling)
    archive.build(source, folder / "built.tar.gz")
    return (folder / "built.tar.gz").read_bytes()


def header(content: bytes, *, offset: int = 0) -> pb.PublishHeader:
    digest = hashlib.sha256(content).hexdigest()
    return pb.PublishHeader(manifest_toml=MANIFEST, sha256=digest, size=len(content), offset=offset)


async def messages(
    content: bytes, *, offset: int = 0, upto: int | None = None, piece: int = 1000
) -> AsyncIterator[pb.PublishRequest]:
    """The publication; one that goes only `upto` a byte never ends."""
    yield pb.PublishRequest(header=header(content, offset=offset))
    for begin in range(offset, upto or len(content), piece):
        yield pb.PublishRequest(chunk=content[begin : min(begin + piece, upto or len(content))])
    if upto:
        await asyncio.Event().wait()


async def found(api: "ControllerAsyncStub", content: bytes, function: str = FUNCTION) -> pb.Upload:
    digest = hashlib.sha256(content).hexdigest()
    with wire.calling("the controller"):
        return await api.FindUpload(pb.FindUploadRequest(function=function, sha256=digest))


async def arrived(api: "ControllerAsyncStub", content: bytes, upto: int) -> None:
    async def here() -> bool:
        return (await found(api, content)).received == upto

    await until(here)


async def publish(api: "ControllerAsyncStub", content: bytes, *, offset: int = 0, piece: int = 1000) -> pb.Version:
    with wire.calling("the controller"):
        return await api.Publish(messages(content, offset=offset, piece=piece))


async def cut(api: "ControllerAsyncStub", content: bytes, *, upto: int) -> None:
    """Sends the beginning, and hangs up once the controller has it."""
    call = api.Publish(messages(content, upto=upto))
    await arrived(api, content, upto)
    call.cancel()


async def test_a_client_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    content = packed(tmp_path, filling=os.urandom(20_000))
    async with Platform(MemoryKV(), tmp_path).standing_by("c1") as api:
        assert (await found(api, content)).received == 0
        await cut(api, content, upto=12_000)
        version = await publish(api, content, offset=12_000)
        assert (version.number, version.size) == (1, len(content))
        fetched = api.FetchArtifact(pb.FetchArtifactRequest(sha256=version.artifact))
        assert b"".join([chunk.content async for chunk in fetched]) == content


async def test_what_was_sent_may_be_sent_again_but_nothing_may_be_left_out(tmp_path: Path) -> None:
    content = packed(tmp_path, filling=os.urandom(20_000))
    async with Platform(MemoryKV(), tmp_path).standing_by("c1") as api:
        await cut(api, content, upto=12_000)
        with pytest.raises(Conflict, match="12000 bytes of the archive are here, not 15000"):
            await publish(api, content, offset=15_000)
        assert (await publish(api, content, offset=7_000)).number == 1


async def test_of_two_that_send_the_same_the_later_goes_on(tmp_path: Path) -> None:
    content = packed(tmp_path, filling=os.urandom(20_000))
    async with Platform(MemoryKV(), tmp_path).standing_by("c1") as api:
        earlier = api.Publish(messages(content, upto=12_000))
        await arrived(api, content, 12_000)
        assert (await publish(api, content, offset=12_000)).number == 1
        earlier.cancel()


async def test_what_a_function_has_need_not_be_sent_and_what_another_has_is_not_told(tmp_path: Path) -> None:
    content = packed(tmp_path)
    async with Platform(MemoryKV(), tmp_path).standing_by("c1") as api:
        assert (await publish(api, content)).number == 1
        known = await found(api, content)
        assert (known.received, known.version) == (len(content), 1)
        assert (await publish(api, content, offset=len(content))).number == 1
        assert (await found(api, content, "another")).received == 0


async def test_what_was_lost_from_the_store_is_sent_again(tmp_path: Path) -> None:
    content = packed(tmp_path)
    async with Platform(MemoryKV(), tmp_path).standing_by("c1") as api:
        version = await publish(api, content)
        (tmp_path / "artifacts" / version.artifact).unlink()
        assert (await found(api, content)).received == 0
        assert (await publish(api, content)).number == 1
        assert (tmp_path / "artifacts" / version.artifact).read_bytes() == content


async def test_what_was_kept_and_is_damaged_is_not_gone_on_with(tmp_path: Path) -> None:
    content = packed(tmp_path, filling=os.urandom(20_000))
    async with Platform(MemoryKV(), tmp_path).standing_by("c1") as api:
        await cut(api, content, upto=12_000)
        [part] = (tmp_path / "artifacts").glob(".*.part")
        part.write_bytes(bytes(12_000))
        with pytest.raises(Conflict, match="is damaged"):
            await publish(api, content, offset=12_000)
        assert (await found(api, content)).received == 0
        assert (await publish(api, content)).number == 1


async def test_an_upload_that_nobody_goes_on_with_is_removed_after_a_day(tmp_path: Path) -> None:
    uploads = opened(tmp_path, controller="c1").uploads
    old, new = (uploads.of(FUNCTION, digit * 64).path for digit in "01")
    for path in (old, new):
        path.write_bytes(b"beginning")
    long_ago = time.time() - KEPT_FOR - 60
    os.utime(old, (long_ago, long_ago))
    sweeping = asyncio.create_task(uploads.sweep())
    await eventually(lambda: not old.exists())
    assert new.exists()
    sweeping.cancel()


@pytest.fixture
def process(tmp_path: Path, etcd: EtcdSettings) -> Iterator[ControllerProcess]:
    with running_controller(tmp_path, etcd) as made:
        yield made


async def test_a_controller_that_is_killed_in_the_middle_has_nothing_half_and_goes_on(
    process: ControllerProcess, tmp_path: Path
) -> None:
    content = packed(tmp_path, filling=os.urandom(40_000))
    async with process.called() as api:
        await cut(api, content, upto=20_000)
    process.kill()
    assert [path.suffix for path in (tmp_path / "artifacts").iterdir()] == [".part"]
    process.start()
    async with process.called() as api:
        assert (await found(api, content)).received == 20_000
        version = await publish(api, content, offset=20_000)
    assert (tmp_path / "artifacts" / version.artifact).read_bytes() == content
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == [version.artifact]


async def test_the_command_goes_on_publishing_after_its_controller_was_killed(
    process: ControllerProcess, tmp_path: Path
) -> None:
    size = len(packed(tmp_path, filling=os.urandom(24 * MIB)))
    async with process.called(), proxied(process.address) as proxy:
        command = ("-m", "hotswap", "publish", str(tmp_path / "source"), "--controller", proxy.address)
        publishing = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=PIPE)
        await eventually(lambda: kept_of_upload(tmp_path) > 8 * MIB)
        proxy.hold_requests()
        await proxy.holds.wait()
        process.kill()
        kept = kept_of_upload(tmp_path)
        await proxy.cut()
        process.start()
        out, said = await asyncio.wait_for(publishing.communicate(), 120)
        assert publishing.returncode == 0, said
        assert b"greeter version 1" in out
        assert b"going on in a moment" in said
        assert proxy.requested - size < kept


async def test_the_command_publishes_at_another_controller_when_the_first_is_gone_in_the_middle(
    tmp_path: Path, etcd: EtcdSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = packed(tmp_path, filling=os.urandom(24 * MIB))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with s3_server(tmp_path / "moto.log") as server:
        bucket = bucket_at(server, "artifacts", monkeypatch)
        with (
            running_controller(first, etcd, bucket=bucket) as one,
            running_controller(second, etcd, bucket=bucket, name="c2") as two,
        ):
            async with one.called(), two.called() as other, proxied(one.address) as proxy:
                among = ("--controller", f"{proxy.address},{two.address}")
                command = ("-m", "hotswap", "publish", str(tmp_path / "source"), *among)
                publishing = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=PIPE)
                await eventually(lambda: kept_of_upload(first) > 8 * MIB)
                proxy.hold_requests()
                await proxy.holds.wait()
                one.kill()
                await proxy.close()
                out, said = await asyncio.wait_for(publishing.communicate(), 120)
                assert publishing.returncode == 0, said
                assert b"greeter version 1" in out
                assert b"has nothing of it: sending it from the beginning" in said
                fetched = other.FetchArtifact(pb.FetchArtifactRequest(sha256=hashlib.sha256(content).hexdigest()))
                assert b"".join([chunk.content async for chunk in fetched]) == content


def kept_of_upload(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "artifacts").glob(".*.part"))


async def test_controllers_that_share_a_bucket_hand_out_what_either_has_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = packed(tmp_path)
    with s3_server(tmp_path / "moto.log") as server:
        platform = Platform(MemoryKV(), tmp_path)
        platform.bucket = bucket_at(server, "artifacts", monkeypatch)
        async with platform.standing_by("c1") as one, platform.standing_by("c2") as two:
            version = await publish(one, content)
            fetched = two.FetchArtifact(pb.FetchArtifactRequest(sha256=version.artifact, offset=10))
            assert b"".join([chunk.content async for chunk in fetched]) == content[10:]
            assert list((tmp_path / "artifacts").iterdir()) == []


class Ground:
    """A store with a leader, and archives of any age."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(MemoryKV())
        self.artifacts = opened(folder / "artifacts", controller="c1")
        self.publishing = Publishing(store=self.store, artifacts=self.artifacts, clock=now)

    async def collector(self, *, ahead: timedelta = GRACE + timedelta(hours=1)) -> Collector:
        """One that looks at archives when they are that old."""
        leader = Leader(controller="c1", address="", since=now())
        revision = await self.store.transaction().announce(leader, lease=0).commit()
        fence = Fence(self.store.key_of(leader), revision)
        return Collector(store=self.store, fence=fence, artifacts=self.artifacts.store, clock=lambda: now() + ahead)

    async def publish(self, content: bytes, function: str = FUNCTION) -> Version:
        async def chunks() -> AsyncIterator[bytes]:
            yield content

        manifest = MANIFEST.replace(FUNCTION, function)
        digest = hashlib.sha256(content).hexdigest()
        publication = Publication(manifest_toml=manifest, sha256=digest, size=len(content))
        return await self.publishing.publish(publication, chunks())

    async def unpublish(self, version: Version) -> None:
        stored = await self.store.versions.get(version.function, version.number)
        assert stored
        await self.store.transaction().delete(stored).commit()

    @property
    def kept(self) -> set[str]:
        return {path.name for path in (self.folder / "artifacts").iterdir()}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


async def test_what_no_version_names_is_thrown_away(ground: Ground, tmp_path: Path) -> None:
    gone = await ground.publish(packed(tmp_path, filling=b"gone"))
    stays = await ground.publish(packed(tmp_path, filling=b"stays"))
    await ground.unpublish(gone)
    assert await (await ground.collector()).collect() == [gone.artifact]
    assert ground.kept == {stays.artifact}


async def test_what_another_function_names_stays(ground: Ground, tmp_path: Path) -> None:
    content = packed(tmp_path)
    first, _ = await ground.publish(content), await ground.publish(content, "another")
    await ground.unpublish(first)
    assert await (await ground.collector()).collect() == []


async def test_what_is_young_may_be_about_to_be_named(ground: Ground, tmp_path: Path) -> None:
    gone = await ground.publish(packed(tmp_path, filling=b"gone"))
    await ground.publish(packed(tmp_path))
    await ground.unpublish(gone)
    collector = await ground.collector(ahead=GRACE - timedelta(hours=1))
    assert await collector.collect() == []
    assert gone.artifact in ground.kept


async def test_an_etcd_without_versions_is_not_believed(ground: Ground, tmp_path: Path) -> None:
    version = await ground.publish(packed(tmp_path))
    await ground.unpublish(version)
    assert await (await ground.collector()).collect() == []
    assert ground.kept == {version.artifact}


class Meanwhile:
    """A store in which something happens when all were listed, and before one is deleted."""

    def __init__(self, store: ArtifactStore) -> None:
        self.put, self.get, self.has = store.put, store.get, store.has
        self._store = store
        self.listed: Callable[[], Awaitable[object]] | None = None
        self.deleting: Callable[[], Awaitable[object]] | None = None

    async def all(self) -> AsyncIterator[Kept]:
        found = [kept async for kept in self._store.all()]
        if self.listed:
            await self.listed()
        for kept in found:
            yield kept

    async def delete(self, sha256: str) -> None:
        if self.deleting:
            await self.deleting()
        await self._store.delete(sha256)


@pytest.fixture
def meanwhile(ground: Ground) -> Meanwhile:
    ground.artifacts.store = made = Meanwhile(ground.artifacts.store)
    return made


async def test_what_is_published_again_before_it_is_condemned_stays(
    ground: Ground, meanwhile: Meanwhile, tmp_path: Path
) -> None:
    await ground.publish(packed(tmp_path))
    content = packed(tmp_path, filling=b"gone")
    await ground.unpublish(await ground.publish(content))
    meanwhile.listed = lambda: ground.publish(content)
    assert await (await ground.collector()).collect() == []
    assert hashlib.sha256(content).hexdigest() in ground.kept


async def test_what_is_published_again_while_it_is_thrown_away_is_refused_until_it_is_gone(
    ground: Ground, meanwhile: Meanwhile, tmp_path: Path
) -> None:
    await ground.publish(packed(tmp_path))
    content = packed(tmp_path, filling=b"gone")
    await ground.unpublish(await ground.publish(content))

    async def refused() -> None:
        with pytest.raises(Conflict, match="is being thrown away"):
            await ground.publish(content)

    meanwhile.deleting = refused
    digest = hashlib.sha256(content).hexdigest()
    assert await (await ground.collector()).collect() == [digest]
    assert digest not in ground.kept
    assert (await ground.publish(content)).artifact in ground.kept


async def test_what_a_leader_had_begun_to_throw_away_the_next_one_ends(ground: Ground, tmp_path: Path) -> None:
    await ground.publish(packed(tmp_path))
    gone = await ground.publish(packed(tmp_path, filling=b"gone"))
    await ground.unpublish(gone)
    await ground.store.transaction().create(Sweep(condemned=[gone.artifact])).commit()
    assert await (await ground.collector(ahead=timedelta(0))).collect() == [gone.artifact]
    sweep = await ground.store.sweeps.get(Sweep.SUBJECT)
    assert sweep
    assert sweep.value.condemned == []


async def test_who_does_not_lead_any_more_throws_nothing_away(ground: Ground, tmp_path: Path) -> None:
    await ground.publish(packed(tmp_path))
    gone = await ground.publish(packed(tmp_path, filling=b"gone"))
    await ground.unpublish(gone)
    collector = await ground.collector()
    [leader] = await ground.store.leader.list()
    await ground.store.transaction().delete(leader).commit()
    with pytest.raises(NotLeader):
        await collector.collect()
    assert gone.artifact in ground.kept


async def test_a_large_archive_takes_no_memory_of_its_size(process: ControllerProcess, tmp_path: Path) -> None:
    """The long form of it, with 500 MB: scripts/bench artifacts."""
    async with process.called() as api:
        await publish(api, packed(tmp_path, filling=os.urandom(1000)))
        before = process.peak
        content = packed(tmp_path, filling=os.urandom(64 * MIB))
        version = await publish(api, content, piece=CHUNK)
        fetched = api.FetchArtifact(pb.FetchArtifactRequest(sha256=version.artifact))
        assert sum([len(chunk.content) async for chunk in fetched]) == len(content)
    assert process.peak - before < 32 * MIB
