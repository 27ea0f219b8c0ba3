"""The code as Lambda's users send it, a zip, made the archive that a version has here.

It is opened without trust: only plain files inside the folder, no more of them and no larger than an archive may have.
Equal files give equal archives, whatever tool has zipped them when.
"""

import io
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from controller.api.aws.faults import invalid
from hotswap.archive import LIMITS, Limits, build
from hotswap.errors import Invalid

LARGEST = 50 * 1024 * 1024
"""Bytes of a zip that is sent in a request, as with AWS."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
"""What `zipfile` raises of bytes that are no zip, are encrypted, or compressed as it does not know."""
COPY_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Packed:
    path: Path
    sha256: str
    size: int


def pack(content: bytes, room: Path, *, limits: Limits = LIMITS) -> Packed:
    """The archive, in an empty folder; raises `Fault`. Takes its time: not for the loop's thread."""
    if len(content) > LARGEST:
        raise invalid(f"the zip has {len(content)} bytes; it may have {LARGEST}")
    folder, target = room / "code", room / "archive.tar.gz"
    folder.mkdir()
    try:
        _unpack(content, folder, limits)
        built = build(folder, target)
    except Invalid as error:
        raise invalid(error.message.replace(f" in {folder}", "").replace(str(folder), "the zip")) from None
    return Packed(target, built.sha256, built.size)


def _unpack(content: bytes, folder: Path, limits: Limits) -> None:
    left = min(limits.size, max(limits.ratio_from, len(content) * limits.ratio))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > limits.files:
                raise Invalid(f"the zip has {len(members)} members; it may have {limits.files}")
            for member in members:
                path = folder / _checked(member)
                if member.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _write(archive, member, path, left)
    except BROKEN as error:
        raise Invalid(
            f"Could not unzip uploaded file. Please check your file, then try to upload again. ({error})"
        ) from None


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, most: int) -> int:
    """Bytes; what a member says of its size is not believed."""
    with archive.open(member) as source, path.open("xb") as file:
        while chunk := source.read(COPY_BYTES):
            if file.tell() + len(chunk) > most:
                raise Invalid(f'the zip unpacks to more than it may have with its member "{member.filename}"')
            file.write(chunk)
        size = file.tell()
    path.chmod(0o755 if (member.external_attr >> 16) & stat.S_IXUSR else 0o644)
    return size


def _checked(member: zipfile.ZipInfo) -> PurePosixPath:
    name = member.filename
    path = PurePosixPath(name)
    mode = member.external_attr >> 16
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name or not path.parts:
        raise Invalid(f'the member "{name}" leads out of the folder')
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise Invalid(f'the member "{name}" is not a plain file', hint="put a copy of the file in its place")
    return path
