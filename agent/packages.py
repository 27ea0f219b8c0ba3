"""The packages that were vendored with a version, in one place for all versions that have the same ones.

They are published in a folder of their own (`hotswap.archive.PACKAGES`). When an archive has been unpacked, that folder
is moved to where sets of packages are, under the hash of what is in it, and a link takes its place. The hash is made
here, of the files: whoever says to have the same packages as another must have them.
"""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from hotswap.archive import PACKAGES
from hotswap.errors import Invalid
from hotswap.runtimes import HERE, fits_here

TAG = re.compile(r"^Tag:\s*(\S+)", re.MULTILINE)
"""In what a wheel says of itself: the interpreter, the ABI and the platform that it is for."""
SHOWN = 3

SUFFIXES = ("", ".py", ".abi3.so")
"""Of what a package or a module is, at the top; and those of modules for one interpreter only."""


def share(code: Path, sets: Path) -> None:
    """Those of an unpacked archive, if it has some."""
    own = code / PACKAGES
    if not own.is_dir():
        return
    shared = sets / _digest(own)
    sets.mkdir(parents=True, exist_ok=True)
    if shared.exists():
        shutil.rmtree(own)
    else:
        own.rename(shared)
    own.symlink_to(os.path.relpath(shared, code))


def check(code: Path) -> None:
    """Raises `Invalid` where some of an unpacked archive's packages are for another machine or interpreter."""
    found = of(code)
    if found and (wrong := _misfits(found)):
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise Invalid(
            f"its packages do not fit this node, which is {HERE}: they are {', '.join(wrong[:SHOWN])}{more}",
            hint="publish it for the nodes that it may run on, as it is done without --platform and --python",
        )


def of(code: Path) -> Path | None:
    """The set of an unpacked archive that has one."""
    link = code / PACKAGES
    return link.resolve() if link.is_dir() else None


@lru_cache(maxsize=1024)
def _misfits(found: Path) -> list[str]:
    """Of a set, which never changes."""
    wrong = []
    for wheel in sorted(found.glob("*.dist-info/WHEEL")):
        tags = TAG.findall(wheel.read_text(encoding="utf-8", errors="replace"))
        if tags and not any(map(fits_here, tags)):
            wrong.append(f"{wheel.parent.stem} for {tags[0]}")
    return wrong


def remove_unused(sets: Path, codes: Iterable[Path]) -> list[str]:
    """Sets that none of the unpacked archives has; their names."""
    used = {found.name for code in codes if (found := of(code))}
    gone = [folder for folder in sets.glob("*") if folder.name not in used]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in gone]


def brings(packages: Path, module: str) -> bool:
    """Whether a module comes from there."""
    top = module.partition(".")[0]
    return any((packages / f"{top}{suffix}").exists() for suffix in SUFFIXES) or any(packages.glob(f"{top}.cpython-*"))


def _digest(folder: Path) -> str:
    """Of the names, contents and rights of all files below."""
    told = hashlib.sha256()
    for path in sorted((path for path in folder.rglob("*") if path.is_file()), key=os.fsencode):
        name, executable = os.fsencode(path.relative_to(folder)), path.stat().st_mode & stat.S_IXUSR
        with path.open("rb") as file:
            told.update(b"%d %s %d %s\n" % (len(name), name, executable, hashlib.file_digest(file, "sha256").digest()))
    return told.hexdigest()
