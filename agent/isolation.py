"""How an instance is kept apart: its own session, environment, home and temporary folder, and limits.

This keeps functions from harming each other by accident. It is *not* a boundary between tenants: all run as one user.
"""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.processes import INSTANCE_VARIABLE
from agent.runtime import limits, order
from hotswap.model import Kind, Version

BOOT = Path(__file__).parent / "runtime" / "boot.py"
REGION = "us-east-1"
"""For code that asks where on AWS it runs; a version's `env` may say otherwise."""
PLACE = re.compile(r"\$(?:(HOST|PORT)\b|\{(HOST|PORT)\})")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Room:
    """The folder of one instance, gone with it."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def load(self) -> Path:
        """The file of `runtime.load`."""
        return self.folder / "load"

    def make(self) -> None:
        for path in (self.home, self.temporary):
            path.mkdir(parents=True, mode=0o700)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def environment(
    version: Version,
    *,
    instance: str,
    node: str,
    code: Path,
    packages: Path | None,
    room: Room,
    listen: tuple[str, int],
) -> dict[str, str]:
    """All that the instance sees of its environment; nothing of the agent's own. `listen`: host and port, told to those
    who have to listen themselves."""
    manifest = version.manifest
    platform = {
        "HOTSWAP_FUNCTION": version.function,
        "HOTSWAP_VERSION": str(version.number),
        "HOTSWAP_NODE": node,
        INSTANCE_VARIABLE: instance,
        "AWS_LAMBDA_FUNCTION_NAME": version.function,
        "AWS_LAMBDA_FUNCTION_VERSION": str(version.number),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(manifest.memory),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/hotswap/{version.function}",
        "AWS_LAMBDA_LOG_STREAM_NAME": str(version.number),
        "LAMBDA_TASK_ROOT": str(code),
    }
    defaults = {
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "HOME": str(room.home),
        "TMPDIR": str(room.temporary),
        "PYTHONUNBUFFERED": "1",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "TZ": ":UTC",
    }
    if packages:
        defaults["PYTHONPATH"] = str(packages)  # for programs, and what a function starts
    if manifest.kind is Kind.HANDLER:
        defaults["_HANDLER"] = str(manifest.entrypoint).replace(":", ".")
    http = _places(listen) if manifest.kind is Kind.HTTP else {}
    order = platform | http | defaults  # what tells of the instance first: see `runtime.guise`
    return order | manifest.env | platform | http


def order_of(
    version: Version, *, code: Path, packages: Path | None, socket: int, ready: int, load: int, limited: limits.Limits
) -> order.Order:
    """For the kinds handler, asgi and wsgi; the numbers are descriptors that the process inherits."""
    manifest = version.manifest
    return order.Order(
        function=version.function,
        version=version.number,
        kind=manifest.kind.value,
        entrypoint=str(manifest.entrypoint),
        code=str(code),
        packages=str(packages or ""),
        socket=socket,
        ready=ready,
        concurrency=manifest.concurrency,
        timeout=manifest.timeout.total_seconds(),
        memory=manifest.memory,
        load=load,
        limits=limited,
    )


def runtime_command(told: order.Order, bytecode: Path) -> list[str]:
    """For those kinds, as a new interpreter."""
    # Compiled modules go beside the artifact, which stays as it was published.
    return [sys.executable, "-I", "-u", "-X", f"pycache_prefix={bytecode}", str(BOOT), "serve", order.encode(told)]


def program_command(version: Version, *, listen: tuple[str, int], ready: int, limited: limits.Limits) -> list[str]:
    """For the kind http; `$HOST` and `$PORT` in an argument become what they are."""
    places = _places(listen)
    command = [PLACE.sub(lambda found: places[found[1] or found[2]], part) for part in version.manifest.entrypoint]
    return [sys.executable, "-I", "-S", str(BOOT), "program", limits.encode(limited), str(ready), *command]


def _places(listen: tuple[str, int]) -> dict[str, str]:
    host, port = listen
    return {"HOST": host, "PORT": str(port)}
