"""The packages that a function's `requirements.txt` names, as files to be published with its code.

pip installs them into a folder, wheels only: nothing is built, and nothing of a package is run. What differs from one
installation to the next is taken out (compiled modules, and what pip notes for itself), so that the same packages are
the same archive. A folder is kept by the hash of the requirements and of what they are for, so the same requirements
are looked up once.
"""

import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hotswap.errors import Invalid, Unavailable
from hotswap.runtimes import Runtime

FILE = "requirements.txt"
FORM = 1
"""Of what is kept; another number makes everything anew."""
KEPT = 10
"""Folders that are kept, the last used ones."""
LIMIT = 900.0
"""Seconds for pip."""
NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Files in which pip says how and where it installed."""
NESTED = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s+|=)(?P<file>\S+)")
NO_VERSION = re.compile(
    r"Could not find a version that satisfies the requirement (?P<wanted>.+?) \(from versions: (?P<versions>.*?)\)",
    re.DOTALL,
)
LAST_LINES = 6


def vendored(
    requirements: Path, *, runtime: Runtime, cache: Path, anew: bool = False, tell: Callable[[str], None]
) -> Path:
    """The folder with the packages. `anew` looks them up though they are kept. Raises `Invalid` or `Unavailable`."""
    runtime.check()
    kept = cache / _key(requirements, runtime)
    if anew:
        shutil.rmtree(kept, ignore_errors=True)
    if kept.exists():
        os.utime(kept)
        return kept
    tell(f"installing what {requirements} names for {runtime}")
    cache.mkdir(parents=True, exist_ok=True)
    room = cache / f".{secrets.token_hex(8)}"
    try:
        _install(requirements, room, runtime)
        _strip(room)
        room.rename(kept)
    except FileExistsError:  # somebody else has looked them up meanwhile
        return kept
    finally:
        shutil.rmtree(room, ignore_errors=True)
    _prune(cache)
    return kept


def _key(requirements: Path, runtime: Runtime) -> str:
    told = hashlib.sha256(f"{FORM}\n{runtime}\n{sys.implementation.cache_tag}\n".encode())
    for file in _files(requirements, []):
        told.update(hashlib.sha256(file.read_bytes()).digest())
    return told.hexdigest()


def _files(requirements: Path, before: list[Path]) -> list[Path]:
    """The file, and those that it refers to."""
    if requirements in before:
        return before
    before.append(requirements)
    try:
        lines = requirements.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{requirements} cannot be read: {error}") from None
    for line in map(str.strip, lines):
        if line.startswith(("-e", "--editable", ".", "/", "file:")):
            raise Invalid(
                f'{requirements}: "{line}" is a folder or a file of this machine',
                hint="put the code into the function's folder, or make a wheel of it and name it with --find-links",
            )
        if nested := NESTED.match(line):
            _files((requirements.parent / nested["file"]).resolve(), before)
    return before


def _install(requirements: Path, room: Path, runtime: Runtime) -> None:
    if importlib.util.find_spec("pip") is None:
        raise Invalid(f"{requirements} cannot be installed: there is no pip", hint=f"{sys.executable} -m ensurepip")
    pip = (sys.executable, "-m", "pip", "install")
    quietly = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-compile")
    what = ("--only-binary", ":all:", "--target", str(room), "--requirement", str(requirements))
    command = [*pip, *quietly, *what, *runtime.options]
    try:
        done = subprocess.run(
            command, cwd=requirements.parent, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip took more than {LIMIT:g} s for {requirements}", hint="try again") from None
    if done.returncode:
        raise _refusal(requirements, runtime, done.stderr)
    room.mkdir(exist_ok=True)  # where nothing is required pip makes none


def _refusal(requirements: Path, runtime: Runtime, said: str) -> Invalid | Unavailable:
    if "Retrying (" in said:
        return Unavailable(f"{requirements}: the index of packages does not answer", hint="try again later")
    if missing := NO_VERSION.search(said):
        wanted, versions = missing["wanted"], missing["versions"]
        if versions == "none":
            return Invalid(
                f"{requirements}: there is no wheel of {wanted} for {runtime}",
                hint="see that it is spelt right. One that has only sources is made a wheel on such a machine:\n"
                f"pip wheel --wheel-dir wheels '{wanted.split(' (')[0]}', then add the line --find-links wheels",
            )
        return Invalid(
            f"{requirements}: no version of it fits {wanted} for {runtime}", hint=f"there are wheels of: {versions}"
        )
    lines = [line for line in said.strip().splitlines() if line and not line.startswith("WARNING")]
    return Invalid(f"{requirements} cannot be installed: {chr(10).join(lines[-LAST_LINES:])}")


def _strip(room: Path) -> None:
    """Takes out what would make the next installation differ; scripts name the interpreter of this machine."""
    shutil.rmtree(room / "bin", ignore_errors=True)
    for folder in [*room.rglob("__pycache__")]:
        shutil.rmtree(folder)
    for notes in [path for info in room.glob("*.dist-info") for path in info.iterdir() if path.name in NOTES]:
        notes.unlink()


def _prune(cache: Path) -> None:
    kept = sorted((it for it in cache.iterdir() if not it.name.startswith(".")), key=lambda it: it.stat().st_mtime)
    for folder in kept[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
