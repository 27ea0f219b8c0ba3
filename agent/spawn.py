"""Starting the process of an instance: its room, its socket, its descriptors, its record on disk.

What our runtime serves is forked from the zygote; a program is a process of its own from the start.
"""

import os
import secrets
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent import limits, packages, sandbox, sockets
from agent.cause import Cause
from agent.cgroups import Groups
from agent.instance import Instance, StartFailed
from agent.isolation import Room, environment, order_of, program_command, runtime_command
from agent.load import Load
from agent.output import Outputs
from agent.processes import Identity, Process, identify, session_of
from agent.records import Record, Records
from agent.runtime.birth import Birth
from agent.runtime.load import SIZE
from agent.standby import Standby
from agent.zygotes import Zygotes
from hotswap.model import Kind, Version


@dataclass(frozen=True, slots=True)
class Spawned:
    instance: Instance
    ready: BinaryIO
    """Where the one line of `runtime/ready.py` arrives; closed by the caller."""


class Spawner:
    def __init__(
        self,
        *,
        node: str,
        host: str,
        state_dir: Path,
        records: Records,
        outputs: Outputs,
        groups: Groups,
        zygotes: Zygotes | None,
        bwrap: str | None = None,
    ) -> None:
        """Without zygotes every instance is a new interpreter. `bwrap` is the program by which they are kept apart."""
        self._node = node
        self._zygotes = zygotes
        self._host = host
        self._rooms = state_dir / "rooms"
        self._bytecode = state_dir / "bytecode"
        self._records = records
        self._outputs = outputs
        self._groups = groups
        self._bwrap = bwrap

    def standby(self, version: Version) -> Standby:
        """Raises `StartFailed` when the machine does not let it."""
        try:
            return Standby(version, instance=self._name(), host=self._host)
        except OSError as error:
            raise StartFailed(f"nothing can listen for it: {error}") from error

    async def spawn(self, version: Version, code: Path, standby: Standby | None) -> Spawned:
        """On the standby's socket, which stays in the agent's hands too, so that who has connected outlives a process
        that ends before it is ready. Raises `StartFailed` when the machine does not let it."""
        name = standby.instance if standby else self._name()
        try:
            with ExitStack() as files:
                listener = standby.listener if standby else self._listener(version, files)
                self._room(name).make()
                return await self._spawn(version, code, name, listener, files)
        except (OSError, ValueError) as error:  # a ValueError for what no command or environment may hold
            self.forget(name)
            raise StartFailed(f"no process can be started: {error}") from error
        except StartFailed:
            self.forget(name)
            raise

    def known(self, record: Record) -> Instance | None:
        """The instance of a record, if its process is still the recorded one."""
        if record.process is None:
            return None
        try:
            return self._instance(record, self._process(record, record.process))
        except ProcessLookupError:
            return None

    def forget(self, instance: str, *, session: int = 0) -> int:
        """Removes what an instance that is gone left on disk, but for its output, and ends what it left running. How
        many processes that were, without those of its own session, which end with it."""
        left = [pid for pid in self._groups.remove(instance) if session_of(pid) not in (None, session)]
        self._room(instance).remove()
        self._records.remove(instance)
        return len(left)

    def _listener(self, version: Version, files: ExitStack) -> socket.socket | None:
        return None if version.manifest.kind is Kind.HTTP else files.enter_context(sockets.bind(self._host))

    async def _spawn(
        self, version: Version, code: Path, name: str, listener: socket.socket | None, files: ExitStack
    ) -> Spawned:
        port = sockets.port_of(listener) if listener else sockets.free_port(self._host)
        record = Record(
            instance=name, version=version, port=port, created=time.time(), confined=self._bwrap is not None
        )
        self._records.write(record)
        ready, write = _pipe()
        files.callback(os.close, write)
        with ExitStack() as on_failure:
            on_failure.enter_context(ready)
            pid = await self._start(record, code, listener, write, files)
            on_failure.pop_all()
        identity = identify(pid, ended=True)
        assert identity is not None, "a child that was not waited for is there"
        instance = self._instance(record, self._process(record, identity, child=True))
        try:
            self._records.write(instance.record(ready=False))
        except OSError:
            instance.process.kill("could not be written down", because=Cause.START)
            ready.close()
            raise
        return Spawned(instance, ready)

    async def _start(
        self, record: Record, code: Path, listener: socket.socket | None, ready: int, files: ExitStack
    ) -> int:
        """The pid of a child of ours."""
        version, name, port = record.version, record.instance, record.port
        output = files.enter_context(self._log(record).open("ab"))
        vendored = packages.of(code)
        room, listen = self._room(name), (self._host, port)
        shown = environment(
            version, instance=name, node=self._node, code=code, packages=vendored, room=room, listen=listen
        )
        groups = self._groups.make(name, limits.allowed(version.manifest))
        limited = limits.limits(version.manifest, [] if self._bwrap else groups)
        if listener is None:
            command = program_command(version, listen=listen, ready=ready, limited=limited)
            return _executed(self._confined(command, record, code, groups), output, code, shown, [ready])
        load = files.enter_context(room.load.open("wb+"))
        load.truncate(SIZE)
        told = order_of(
            version,
            code=code,
            packages=vendored,
            socket=listener.fileno(),
            ready=ready,
            load=load.fileno(),
            limited=limited,
        )
        bytecode = self._bytecode / version.artifact
        if self._zygotes is None:
            command = self._confined(runtime_command(told, bytecode), record, code, groups)
            return _executed(command, output, code, shown, [ready, listener.fileno(), load.fileno()])
        zygote = self._zygotes.of(vendored)
        birth = Birth(name, told, shown, str(code), str(bytecode), zygote.preload, str(zygote.packages or ""))
        return await zygote.fork(
            birth, listener=listener.fileno(), ready=ready, load=load.fileno(), output=output.fileno()
        )

    def _confined(self, command: list[str], record: Record, code: Path, groups: list[str]) -> list[str]:
        if self._bwrap is None:
            return command
        return sandbox.command(
            command,
            bwrap=self._bwrap,
            code=code,
            packages=packages.of(code),
            room=self._room(record.instance),
            bytecode=self._bytecode / record.version.artifact,
            limited=limits.limits(record.version.manifest, groups),
        )

    def _process(self, record: Record, identity: Identity, *, child: bool = False) -> Process:
        def why() -> str:
            return limits.out_of_memory(self._groups, record.instance, record.version.manifest.memory)

        return Process(identity, record.instance, child=child, confined=record.confined, why=why)

    def _instance(self, record: Record, process: Process) -> Instance:
        return Instance(
            id=record.instance,
            version=record.version,
            process=process,
            host=self._host,
            port=record.port,
            created=record.created,
            log=self._log(record),
            room=self._room(record.instance),
            load=_load(self._room(record.instance)),
            confined=record.confined,
        )

    def _name(self) -> str:
        return f"{self._node}-{secrets.token_hex(4)}"

    def _log(self, record: Record) -> Path:
        return self._outputs.path(record.version.function, record.version.number, record.instance)

    def _room(self, instance: str) -> Room:
        return Room(self._rooms / instance)


def _executed(command: list[str], output: BinaryIO, folder: Path, shown: dict[str, str], passed: list[int]) -> int:
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=shown,
        start_new_session=True,
        pass_fds=passed,
    )
    child.returncode = 0  # it is `Process` that waits for it
    return child.pid


def _load(room: Room) -> Load | None:
    """`None` for a program."""
    try:
        return Load(room.load)
    except OSError:
        return None


def _pipe() -> tuple[BinaryIO, int]:
    read, write = os.pipe()
    return open(read, "rb", buffering=0), write
