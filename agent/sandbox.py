"""`bwrap` around an instance: namespaces of its own, in which there is nothing but what it needs.

It sees the system's programs and libraries, the interpreter, the runtime and its own code, all read-only; its own home
and temporary folder, a /tmp, and a /proc with its own processes. It sees no other function's files, nothing of the
agent's, and none of its processes, so neither their environments nor their memory. The network is the machine's, since
it has to listen there.

Such an instance is always an interpreter of its own. A zygote inside would have to be one for each function, and hold
as much memory as an instance, to save a tenth of a second that `min_instances` saves as well.
"""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from agent.isolation import BOOT, Room
from agent.runtime import limits
from hotswap.errors import Refused
from hotswap.settings import Isolation

log = logging.getLogger(__name__)

TRIAL_LIMIT = 10.0
"""Seconds."""
MIB = 1 << 20
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
"""Beside /usr; links into it on most systems."""
SETTINGS = (
    *("alternatives", "ca-certificates", "group", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime"),
    *("mime.types", "nsswitch.conf", "passwd", "pki", "resolv.conf", "ssl", "timezone"),
)
"""Of /etc. What may hold secrets is not among it."""


def chosen(isolation: Isolation) -> str | None:
    """The path of bwrap, or `None` for instances without it. Raises `Refused` where it must be had and cannot."""
    if isolation == "process":
        return None
    found = which("bwrap")
    why = _trial(found) if found else "there is no bwrap on the PATH"
    if not why:
        return found
    if isolation == "bwrap":
        raise Refused(
            f"instances cannot be kept apart by bwrap: {why}",
            hint="install bubblewrap, and allow user namespaces to whom the agent runs as; or use --isolation process",
        )
    log.warning("instances are not kept apart by bwrap: %s", why)
    return None


def command(
    inner: list[str],
    *,
    bwrap: str,
    code: Path,
    packages: Path | None,
    room: Room,
    bytecode: Path,
    limited: limits.Limits,
) -> list[str]:
    """What runs the inner command in a sandbox; it joins its control groups outside, where they can be seen."""
    bytecode.mkdir(parents=True, exist_ok=True)
    seen = [sys.executable, "-I", "-S", str(BOOT), "confined", limits.encode(limited), bwrap, *_system()]
    seen += ["--size", str(limited.disk * MIB), "--tmpfs", "/tmp"]  # noqa: S108 - before all that may be in it
    for path in _interpreter():
        seen += ["--ro-bind", path, path]
    own: list[str] = []
    for folder in filter(None, (code, packages)):
        own += ["--ro-bind", str(folder), str(folder)]
    for folder in (room.folder, bytecode):
        own += ["--bind", str(folder), str(folder)]
    return [*seen, *own, "--chdir", str(code), "--", *inner]


def _system() -> Iterator[str]:
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL")
    yield from ("--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev")
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.exists():
            yield from ("--ro-bind", str(path), str(path))
    for name in SETTINGS:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def _interpreter() -> Iterator[str]:
    """Where Python and our runtime are, as far as that is not the system's."""
    real = str(Path(sys.executable).resolve().parent.parent)
    for path in dict.fromkeys([sys.base_prefix, real, sys.prefix, str(BOOT.parent)]):
        if not path.startswith("/usr"):
            yield path


def _trial(bwrap: str) -> str:
    """Why it cannot be used; empty if it can."""
    try:
        subprocess.run([bwrap, *_system(), "--", "true"], check=True, capture_output=True, timeout=TRIAL_LIMIT)
    except subprocess.CalledProcessError as error:
        return str(error.stderr.decode(errors="replace").strip() or error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""
