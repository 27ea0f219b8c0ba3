"""What an instance has before its process: its name, its room, its socket, its record on disk."""

import os
import secrets
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent import limits, packages, sockets
from agent.cause import Cause
from agent.cgroups import Groups
from agent.instance import Instance, StartFailed
from agent.isolation import Room, environment
from agent.load import Load
from agent.output import Outputs
from agent.processes import Identity, Process, identify, session_of
from agent.records import Record, Records
from agent.runtime.load import SIZE
from agent.standby import Standby
from agent.starting import Served, Start, Started, Starter
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
        """See `Starter`."""
        self._node = node
        self._host = host
        self._rooms = state_dir / "rooms"
        self._records = records
        self._outputs = outputs
        self._groups = groups
        self._confined = bwrap is not None
        self._starter = Starter(groups, zygotes=zygotes, bytecode=state_dir / "bytecode", bwrap=bwrap)

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
        self._groups.hold(_group(record))
        try:
            return self._instance(record, self._process(record, record.process))
        except ProcessLookupError:
            return None

    def forget(self, instance: str, *, group: str = "", session: int = 0) -> int:
        """Removes what an instance that is gone left on disk, but for its output, and ends what it left running. How
        many processes that were, without those of its own session, which end with it. `group`: see `Record`."""
        left = [pid for pid in self._groups.remove(group or instance) if session_of(pid) not in (None, session)]
        self._room(instance).remove()
        self._records.remove(instance)
        return len(left)

    def _listener(self, version: Version, files: ExitStack) -> socket.socket | None:
        return None if version.manifest.kind is Kind.HTTP else files.enter_context(sockets.bind(self._host))

    async def _spawn(
        self, version: Version, code: Path, name: str, listener: socket.socket | None, files: ExitStack
    ) -> Spawned:
        port = sockets.port_of(listener) if listener else sockets.free_port(self._host)
        record = Record(instance=name, version=version, port=port, created=time.time(), confined=self._confined)
        self._records.write(record)
        ready, write = _pipe()
        files.callback(os.close, write)
        with ExitStack() as on_failure:
            on_failure.enter_context(ready)
            started = await self._start(record, code, listener, write, files)
            on_failure.pop_all()
        record = msgspec.structs.replace(record, group=started.group)
        identity = identify(started.pid, ended=True)
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
    ) -> Started:
        version, name, room = record.version, record.instance, self._room(record.instance)
        output = files.enter_context(self._log(record).open("ab"))
        listen, vendored, served = (self._host, record.port), packages.of(code), None
        if listener:
            load = files.enter_context(room.load.open("wb+"))
            load.truncate(SIZE)
            served = Served(listener.fileno(), load.fileno())
        shown = environment(
            version, instance=name, node=self._node, code=code, packages=vendored, room=room, listen=listen
        )
        return await self._starter.start(
            Start(
                version=version,
                instance=name,
                code=code,
                packages=vendored,
                room=room,
                environment=shown,
                listen=listen,
                ready=ready,
                output=output.fileno(),
                served=served,
            )
        )

    def _process(self, record: Record, identity: Identity, *, child: bool = False) -> Process:
        def why() -> str:
            return limits.out_of_memory(self._groups, _group(record), record.version.manifest.memory)

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
            group=_group(record),
            confined=record.confined,
        )

    def _name(self) -> str:
        return f"{self._node}-{secrets.token_hex(4)}"

    def _log(self, record: Record) -> Path:
        return self._outputs.path(record.version.function, record.version.number, record.instance)

    def _room(self, instance: str) -> Room:
        return Room(self._rooms / instance)


def _group(record: Record) -> str:
    return record.group or record.instance


def _load(room: Room) -> Load | None:
    """`None` for a program."""
    try:
        return Load(room.load)
    except OSError:
        return None


def _pipe() -> tuple[BinaryIO, int]:
    read, write = os.pipe()
    return open(read, "rb", buffering=0), write
