"""The archive of a version: built so that equal files give equal bytes, and opened without trust.

An archive is a gzipped tar of plain files, sorted, without times or owners, so that its sha256 names the content. What
is opened may come from anywhere: nothing is written outside the target folder, links and devices are refused, and
neither the number of files, nor their size, nor what the compression promises can fill a disk or the memory. The `data`
filter of `tarfile` allows links and sets no limits, so every member is checked here.
"""

import gzip
import hashlib
import io
import os
import secrets
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from hotswap import ignoring
from hotswap.errors import Invalid

PACKAGES = ".packages"
"""The folder in an archive for what was vendored; it is searched for modules after the function's own."""
NAME_BYTES = 255
PATH_BYTES = 1024
HEADER_BYTES = 1 << 20
"""The most that `tarfile` may ask for at once: it takes extended headers into memory whole."""
TAR_OVERHEAD = 4096
"""Bytes of headers and padding that a member may bring beside its content."""
COPY_BYTES = 1 << 18
BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError, RecursionError)
"""What `tarfile` and `gzip` raise of bytes that are no archive; the last three of headers made to break them."""


@dataclass(frozen=True, slots=True)
class Limits:
    files: int = 20_000
    size: int = 1 << 30
    """Bytes of all files together, unpacked."""
    ratio: int = 100
    """How many times larger than the archive the files may be; source code compresses 3 to 10 times."""
    ratio_from: int = 32 << 20
    """Unpacked bytes up to which the ratio does not matter: a small file of zeros is no bomb."""


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Contents:
    files: tuple[str, ...]
    size: int
    """Bytes of all files together, unpacked."""


@dataclass(frozen=True, slots=True)
class Built:
    sha256: str
    size: int
    """Bytes of the archive."""
    files: tuple[str, ...]


def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build(folder: Path, target: Path, *, packages: Path | None = None) -> Built:
    """Writes the archive of a folder to `target`, with packages that were vendored for it in a folder of their own.
    Raises `Invalid` for what an archive cannot hold."""
    files = {name: folder / name for name in _files(folder, ignoring.read(folder))}
    if not files:
        raise Invalid(f"{folder} has no files to publish")
    if packages:
        files |= {f"{PACKAGES}/{name}": packages / name for name in _files(packages, lambda _: False)}
    with (
        target.open("wb") as raw,
        _gzipped(raw) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(files, key=os.fsencode):
            _add(tar, files[name], name)
    return Built(digest(target), target.stat().st_size, tuple(sorted(files, key=os.fsencode)))


def _gzipped(raw: IO[bytes]) -> gzip.GzipFile:
    """Without the name and the time, which would go into the header and so into the digest."""
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)


def inspect(archive: Path, *, limits: Limits = LIMITS) -> Contents:
    """What is in an archive, read to its last byte. Raises `Invalid` naming the member that is wrong."""
    names: list[str] = []
    size = 0
    with _opened(archive, limits) as members:
        for name, member, _ in members:
            names.append(name)
            size += member.size
    if not names:
        raise Invalid("the archive has no files")
    return Contents(tuple(names), size)


def read_file(archive: Path, wanted: str, *, most: int, limits: Limits = LIMITS) -> bytes | None:
    """One file of an archive, `None` where it has none of that name; raises `Invalid` when it is larger than `most`."""
    with _opened(archive, limits) as members:
        for name, member, content in members:
            if name == wanted:
                if member.size > most:
                    raise Invalid(f"the archive's member {_quoted(name)} has {member.size} bytes; it may have {most}")
                return content.read()
    return None


def unpack(archive: Path, target: Path, *, limits: Limits = LIMITS) -> Contents:
    """Unpacks into a fresh folder that appears under its name only when it is whole.

    Raises `Invalid` like `inspect`, and `FileExistsError` when the target is there already.
    """
    if target.exists():
        raise FileExistsError(target)
    room = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        contents = _write(archive, room, limits)
        room.rename(target)
    except BaseException:
        shutil.rmtree(room, ignore_errors=True)
        raise
    return contents


def _write(archive: Path, room: Path, limits: Limits) -> Contents:
    room.mkdir(parents=True)
    names: list[str] = []
    size = 0
    with _opened(archive, limits) as members:
        for name, member, content in members:
            path = room / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                shutil.copyfileobj(content, file, COPY_BYTES)
                os.fchmod(file.fileno(), 0o755 if member.mode & stat.S_IXUSR else 0o644)
            names.append(name)
            size += member.size
    if not names:
        raise Invalid("the archive has no files")
    return Contents(tuple(names), size)


def _files(folder: Path, ignored: ignoring.Ignored) -> list[str]:
    """Paths of the files that belong to a function, relative."""
    found: list[str] = []
    for here, folders, files in os.walk(folder, onerror=_raise):
        inner = PurePosixPath(Path(here).relative_to(folder).as_posix())
        folders[:] = [name for name in folders if not ignored(inner / name)]
        for name in [*folders, *files]:
            path = Path(here, name)
            if not ignored(inner / name) and (path.is_symlink() or name in files):
                _check_source(path, folder)
                found.append(_check_name((inner / name).as_posix()))
    return found


def _raise(error: OSError) -> None:
    """A folder that cannot be read must not be missing without a word."""
    raise error


def _check_source(path: Path, folder: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise Invalid(f'"{path.relative_to(folder)}" in {folder} is a link', hint="put a copy of the file in its place")
    if not stat.S_ISREG(mode):
        raise Invalid(
            f'"{path.relative_to(folder)}" in {folder} is not a plain file', hint="remove it, or publish another folder"
        )


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        member = tarfile.TarInfo(name)
        member.size = status.st_size
        member.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        tar.addfile(member, file)


Members = Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]


@contextmanager
def _opened(archive: Path, limits: Limits) -> Iterator[Members]:
    """The files of an archive, each checked before it is given out; what is no archive at all is `Invalid`."""
    try:
        with archive.open("rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as zipped:
            bounded = _Bounded(zipped, archive.stat().st_size, limits)
            with tarfile.open(fileobj=bounded, mode="r:", errorlevel=2) as tar:
                yield _checked(tar, limits)
                bounded.drain()
    except BROKEN as error:
        raise Invalid(f"the archive is not a whole .tar.gz: {error}", hint="publish it again") from error


def _checked(tar: tarfile.TarFile, limits: Limits) -> Members:
    tree = _Tree()
    size = 0
    for count, member in enumerate(tar, start=1):
        name = _check_name(member.name)
        if count > limits.files:
            raise Invalid(f"the archive has more than {limits.files} members; {_quoted(name)} is one too many")
        if member.size < 0:
            raise Invalid(f"the archive's member {_quoted(name)} has a size below 0")
        size += member.size
        if size > limits.size:
            raise Invalid(f"the archive unpacks to more than {limits.size} bytes with its member {_quoted(name)}")
        _check_type(member)
        path = tree.add(PurePosixPath(name), folder=member.isdir())
        content = tar.extractfile(member)
        if content is not None:
            yield path.as_posix(), member, content


def _check_type(member: tarfile.TarInfo) -> None:
    name = _quoted(member.name)
    if member.issym() or member.islnk():
        raise Invalid(f"the archive's member {name} is a link to {_quoted(member.linkname)}; links are refused")
    if member.issparse() or not (member.isdir() or member.type in {tarfile.REGTYPE, tarfile.AREGTYPE}):
        raise Invalid(f"the archive's member {name} is not a plain file but a device, a pipe, or sparse")


def _check_name(name: str) -> str:
    """Raises `Invalid` unless the name is a relative path that stays inside."""
    path = PurePosixPath(name)
    if path.is_absolute():
        raise Invalid(f"the archive's member {_quoted(name)} has an absolute path")
    if ".." in path.parts:
        raise Invalid(f"the archive's member {_quoted(name)} leads out of the folder")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise Invalid(f"the archive's member {_quoted(name)} has a name that is not UTF-8") from None
    if not 0 < len(encoded) <= PATH_BYTES or b"\0" in encoded or _longest(path) > NAME_BYTES:
        raise Invalid(
            f"the archive's member {_quoted(name[:80])} has a name that no file can have",
            hint=f"at most {NAME_BYTES} bytes a name and {PATH_BYTES} a path",
        )
    return name


def _longest(path: PurePosixPath) -> int:
    return max((len(part.encode()) for part in path.parts), default=0)


class _Tree:
    """The paths of an archive so far, so that no path comes twice or is both a file and a folder."""

    def __init__(self) -> None:
        self._files: set[PurePosixPath] = set()
        self._folders: set[PurePosixPath] = {PurePosixPath()}

    def add(self, path: PurePosixPath, *, folder: bool) -> PurePosixPath:
        for parent in path.parents:
            if parent in self._files:
                raise Invalid(
                    f"the archive has {_quoted(str(parent))} as a file and as the folder of {_quoted(str(path))}"
                )
        if path in self._files or (not folder and path in self._folders):
            raise Invalid(f"the archive has its member {_quoted(str(path))} twice")
        self._folders.update(path.parents)
        (self._folders if folder else self._files).add(path)
        return path


class _Bounded(io.BufferedIOBase):
    """What `tarfile` needs of a file, over a decompressor, with an end to what it may yield."""

    def __init__(self, zipped: gzip.GzipFile, packed: int, limits: Limits) -> None:
        self._zipped = zipped
        self._packed = packed
        self._limits = limits
        self._most = limits.size + limits.files * TAR_OVERHEAD

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= HEADER_BYTES:
            raise Invalid(f"the archive has a header of {size} bytes; {HEADER_BYTES} are allowed")
        content = self._zipped.read(size)
        self._check(self._zipped.tell())
        return content

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        """A step forward decompresses what lies between; so it is checked first, and in pieces."""
        assert whence == io.SEEK_SET
        if position > self._most:
            raise Invalid(f"the archive unpacks to more than {self._limits.size} bytes")
        while self._zipped.tell() < position:
            if not self.read(min(COPY_BYTES, position - self._zipped.tell())):
                break
        return self._zipped.seek(position)

    def tell(self) -> int:
        return self._zipped.tell()

    def drain(self) -> None:
        """Reads on to the end, where gzip's checksum shows whether all of it was as it was written."""
        while self.read(COPY_BYTES):
            pass

    def _check(self, position: int) -> None:
        if position > self._most:
            raise Invalid(f"the archive unpacks to more than {self._limits.size} bytes")
        if position > max(self._limits.ratio_from, self._packed * self._limits.ratio):
            raise Invalid(
                f"the archive's {self._packed} bytes unpack to more than {self._limits.ratio} times as many",
                hint="files of zeros or the like are not published; make them when the function starts",
            )


def _quoted(name: str) -> str:
    return f'"{name}"' if name.isprintable() else ascii(name)
