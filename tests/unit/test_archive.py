"""Archives: equal files give equal bytes, and nothing hostile gets out of one."""

import contextlib
import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotswap import archive, ignoring
from hotswap.errors import Invalid

NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"], max_codepoint=0x2FFF), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."} and not ignoring._any(name, [*ignoring.ALWAYS]))
FILES = st.dictionaries(NAMES, st.binary(max_size=2000), min_size=1, max_size=5)
TREES = st.dictionaries(NAMES.map("d-{}".format), FILES, min_size=1, max_size=3)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for field, value in fields.items():
        setattr(header, field, value)
    return header, content


def hostile(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for header, content in members:
            tar.addfile(header, io.BytesIO(content))
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(tree=TREES)
def test_what_is_packed_is_unpacked(
    tree: dict[str, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    room = tmp_path_factory.mktemp("archive")
    files = {f"{folder}/{name}": content for folder, inner in tree.items() for name, content in inner.items()}
    write(room / "source", files)
    built = archive.build(room / "source", room / "a.tar.gz")
    contents = archive.unpack(room / "a.tar.gz", room / "out")
    assert read(room / "out") == files
    assert contents == archive.inspect(room / "a.tar.gz")
    assert set(contents.files) == set(built.files) == set(files)
    assert contents.size == sum(map(len, files.values()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(files=FILES, seed=st.randoms())
def test_equal_files_give_equal_bytes(
    files: dict[str, bytes], seed: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    room = tmp_path_factory.mktemp("archive")
    write(room / "one", files)
    write(room / "two", dict(sorted(files.items(), reverse=True)))
    one = archive.build(room / "one", room / "one.tar.gz")
    two = archive.build(room / "two", room / "two.tar.gz")
    assert one == two
    assert one.sha256 == archive.digest(room / "two.tar.gz")
    assert one.size == (room / "one.tar.gz").stat().st_size


def test_what_is_no_part_of_the_function_stays_out(tmp_path: Path) -> None:
    names = (
        "app.py",
        "pkg/mod.py",
        ".git/config",
        "pkg/__pycache__/mod.pyc",
        ".venv/bin/python",
        ".hotswap/x",
        "a.pyc",
    )
    write(tmp_path / "source", dict.fromkeys(names, b"x"))
    (tmp_path / "source/.venv/bin/link").symlink_to("/etc/passwd")
    assert archive.build(tmp_path / "source", tmp_path / "a.tar.gz").files == ("app.py", "pkg/mod.py")


def test_only_whether_a_file_runs_is_kept_of_its_mode(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"run": b"", "read": b""})
    (source / "run").chmod(0o4777)
    (source / "read").chmod(0o600)
    archive.build(source, tmp_path / "a.tar.gz")
    archive.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert [(tmp_path / "out" / name).stat().st_mode & 0o7777 for name in ("run", "read")] == [0o755, 0o644]


def test_a_link_is_not_packed(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"app.py": b""})
    (source / "secret").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match=r'"secret" in .* is a link'):
        archive.build(source, tmp_path / "a.tar.gz")


def test_an_empty_folder_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(Invalid, match="has no files"):
        archive.build(tmp_path / "source", tmp_path / "a.tar.gz")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("../x", b"x")], '"../x" leads out of the folder'),
        ([member("ok/../../x", b"x")], '"ok/../../x" leads out'),
        ([member("/etc/cron.d/x", b"x")], '"/etc/cron.d/x" has an absolute path'),
        ([member("link", type=tarfile.SYMTYPE, linkname="/etc")], '"link" is a link to "/etc"'),
        ([member("a", b"x"), member("hard", type=tarfile.LNKTYPE, linkname="a")], '"hard" is a link to "a"'),
        ([member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], '"null" is not a plain file'),
        ([member("disk", type=tarfile.BLKTYPE)], '"disk" is not a plain file'),
        ([member("pipe", type=tarfile.FIFOTYPE)], '"pipe" is not a plain file'),
        ([member("a", b"1"), member("./a", b"2")], '"a" twice'),
        ([member("a", b"1"), member("a/b", b"2")], '"a" as a file and as the folder of "a/b"'),
        ([member("a/b", b"1"), member("a", b"2")], '"a" twice'),
        ([member("a", b"1", pax_headers={"path": "x\0y"})], r"'x\x00y' has a name that no file can have"),
        ([member("n" * 256, b"1")], "has a name that no file can have"),
        ([member("d/" * 600 + "x", b"1")], "has a name that no file can have"),
        ([member(f"f{i}", b"") for i in range(11)], 'more than 10 members; "f10" is one too many'),
        ([member("a", b"x" * 600_000), member("b", b"x" * 600_000)], 'more than 1000000 bytes with its member "b"'),
        ([member("zeros", bytes(900_000))], "unpack to more than 20 times as many"),
        ([], "has no files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_archive_is_refused(members: list[tuple[tarfile.TarInfo, bytes]], said: str, tmp_path: Path) -> None:
    path = hostile(tmp_path / "a.tar.gz", *members)
    limits = archive.Limits(files=10, size=1_000_000, ratio=20 if "times" in said else 10_000, ratio_from=100_000)
    with pytest.raises(Invalid) as inspected:
        archive.inspect(path, limits=limits)
    with pytest.raises(Invalid) as unpacked:
        archive.unpack(path, tmp_path / "room/out", limits=limits)
    assert said in inspected.value.message
    assert unpacked.value.message == inspected.value.message
    assert list((tmp_path / "room").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "room"}


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = hostile(tmp_path / "a.tar.gz", member("pax", bytes(3 << 20), type=tarfile.XHDTYPE))
    with pytest.raises(Invalid, match="a header of 3145728 bytes"):
        archive.inspect(path)


def test_a_size_that_is_only_claimed_is_refused_without_reading_on(tmp_path: Path) -> None:
    header = tarfile.TarInfo("huge")
    header.size = 1 << 40
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(Invalid, match='with its member "huge"'):
        archive.inspect(tmp_path / "a.tar.gz")


def test_a_size_below_zero_does_not_turn_in_circles(tmp_path: Path) -> None:
    header = tarfile.TarInfo("back")
    header.size = -1024
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) * 2 + bytes(1024)))
    with pytest.raises(Invalid):
        archive.inspect(tmp_path / "a.tar.gz")


def test_headers_upon_headers_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XGLTYPE
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) * 5000))
    with pytest.raises(Invalid, match="not a whole"):
        archive.inspect(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("cut", [1, 10, 100, 200, -9, -1])
def test_a_cut_archive_is_refused(cut: int, tmp_path: Path) -> None:
    write(tmp_path / "source", {f"f{i}": bytes([i]) * 500 for i in range(20)})
    archive.build(tmp_path / "source", tmp_path / "a.tar.gz")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[:cut])
    with pytest.raises(Invalid, match=r"not a whole \.tar\.gz"):
        archive.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_of_any_kind_are_refused_or_read(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(*(lambda pair: (pair[0], io.BytesIO(pair[1])))(member("a", b"x" * 700)))
    raw = bytearray(buffer.getvalue()[:2048])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("any") / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(raw)))
    with contextlib.suppress(Invalid):
        assert archive.inspect(path).files


def test_a_target_that_is_there_is_left_alone(tmp_path: Path) -> None:
    archive.build(write(tmp_path / "source", {"a": b"new"}), tmp_path / "a.tar.gz")
    write(tmp_path / "out", {"a": b"old"})
    with pytest.raises(FileExistsError):
        archive.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert read(tmp_path / "out") == {"a": b"old"}
