"""Zips become archives, and what is no sound zip is refused."""

import io
import stat
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from controller.api.aws import zips
from controller.api.aws.faults import Fault
from hotswap.archive import LIMITS, Limits, unpack


def zipped(*members: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644, year: int = 2020) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0))
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return made.getvalue()


def refusal(content: bytes, *, limits: Limits = LIMITS) -> str:
    with tempfile.TemporaryDirectory() as room, pytest.raises(Fault) as refused:
        zips.pack(content, Path(room), limits=limits)
    assert refused.value.code == "InvalidParameterValueException"
    return refused.value.message


def test_its_files_are_those_of_the_zip(tmp_path: Path) -> None:
    content = zipped(("app.py", b"1"), ("pkg/", b""), ("pkg/run", b"2"), mode=stat.S_IFREG | 0o755)
    unpack(zips.pack(content, tmp_path).path, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "pkg" / "run").read_bytes() == b"2"
    assert (tmp_path / "unpacked" / "app.py").stat().st_mode & stat.S_IXUSR


def test_equal_files_are_equal_archives_whenever_they_were_zipped(tmp_path: Path) -> None:
    digests = set()
    for name, content in (
        ("one", zipped(("a", b"1"), ("b", b"2"))),
        ("two", zipped(("b", b"2"), ("a", b"1"), year=2021)),
    ):
        (tmp_path / name).mkdir()
        digests.add(zips.pack(content, tmp_path / name).sha256)
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["../app.py", "/app.py", "a/../../b", "a\\b"])
def test_no_member_leads_out_of_the_folder(name: str) -> None:
    assert "leads out" in refusal(zipped((name, b"x")))


def test_links_bombs_and_what_is_no_zip_are_refused() -> None:
    assert "not a plain file" in refusal(zipped(("a", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777))
    assert "Could not unzip" in refusal(b"PK\x03\x04 nothing")
    assert "Could not unzip" in refusal(zipped(("a", b"x" * 100))[:-40])
    small = replace(LIMITS, size=1_000, files=2)
    assert "unpacks to more" in refusal(zipped(("a", b"0" * 1_001)), limits=small)
    assert "3 members" in refusal(zipped(*((name, b"") for name in "abc")), limits=small)
    assert "Could not unzip" in refusal(zipped(("a", b"1"), ("a/b", b"2")))
    assert "no files" in refusal(zipped())
