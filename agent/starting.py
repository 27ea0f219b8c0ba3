"""Starts the process of an instance: what our runtime serves is forked from a zygote; programs are executed, and so is
all that is to be in a sandbox.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from agent import limits, sandbox
from agent.cgroups import Groups
from agent.isolation import Room, order_of, program_command, runtime_command
from agent.runtime.birth import Birth
from agent.runtime.limits import Limits
from agent.runtime.order import Order
from agent.zygotes import Zygotes
from hotswap.model import Version


@dataclass(frozen=True, slots=True)
class Served:
    """Descriptors for what our runtime serves; programs have none of them."""

    socket: int
    """Bound."""
    load: int
    """Of the file of its load."""


@dataclass(frozen=True, slots=True)
class Start:
    """Of one instance; what is descriptors stays the caller's."""

    version: Version
    instance: str
    code: Path
    packages: Path | None
    room: Room
    environment: dict[str, str]
    listen: tuple[str, int]
    """Host and port."""
    ready: int
    output: int
    served: Served | None


@dataclass(frozen=True, slots=True)
class Started:
    pid: int
    """Of a child of ours, that nobody waits for yet."""
    group: str
    """The name of its control groups."""


class Starter:
    def __init__(self, groups: Groups, *, zygotes: Zygotes | None, bytecode: Path, bwrap: str | None) -> None:
        """Without zygotes every instance is a new interpreter. `bwrap` is the program by which they are kept apart;
        `bytecode` is the folder of compiled modules, which has one for each archive."""
        self._groups = groups
        self._zygotes = zygotes
        self._bytecode = bytecode
        self._bwrap = bwrap

    async def start(self, it: Start) -> Started:
        """Raises `StartFailed`, and `OSError` or `ValueError` for what the machine does not let it."""
        if it.served and self._zygotes:
            return await self._forked(it, it.served, self._zygotes)
        return self._executed(it)

    async def _forked(self, it: Start, served: Served, zygotes: Zygotes) -> Started:
        spare = await zygotes.of(it.packages).fork()
        manifest = it.version.manifest
        born = Birth(
            instance=it.instance,
            order=_order(it, served, limits.limits(manifest, [])),
            environment=it.environment,
            folder=str(it.code),
            bytecode=str(self._bytecode / it.version.artifact),
            preloaded=spare.preloaded,
            packages=str(spare.packages or ""),
        )
        try:
            self._groups.limit(spare.group, limits.allowed(manifest))
            spare.become(born, [served.socket, it.ready, served.load, it.output])
        except BaseException:
            await spare.end(self._groups)
            raise
        return Started(spare.pid, spare.group)

    def _executed(self, it: Start) -> Started:
        manifest, bytecode = it.version.manifest, self._bytecode / it.version.artifact
        groups = self._groups.make(it.instance, limits.allowed(manifest))
        limited = limits.limits(manifest, [] if self._bwrap else groups)
        passed = [it.ready]
        if it.served:
            passed += [it.served.socket, it.served.load]
            command = runtime_command(_order(it, it.served, limited), bytecode)
        else:
            command = program_command(it.version, listen=it.listen, ready=it.ready, limited=limited)
        if self._bwrap:
            command = sandbox.command(
                command,
                bwrap=self._bwrap,
                code=it.code,
                packages=it.packages,
                room=it.room,
                bytecode=bytecode,
                limited=limits.limits(manifest, groups),
            )
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=it.output,
            stderr=subprocess.STDOUT,
            cwd=it.code,
            env=it.environment,
            start_new_session=True,
            pass_fds=passed,
        )
        child.returncode = 0  # it is `Process` that waits for it
        return Started(child.pid, it.instance)


def _order(it: Start, served: Served, limited: Limits) -> Order:
    return order_of(
        it.version,
        code=it.code,
        packages=it.packages,
        socket=served.socket,
        ready=it.ready,
        load=served.load,
        limited=limited,
    )
