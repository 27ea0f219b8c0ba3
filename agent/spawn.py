"""Starting the process of an instance: its room, its socket, its descriptors, its record on disk."""

import os
import secrets
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent import sockets
from agent.instance import Instance, StartFailed
from agent.isolation import Room, environment, program_command, runtime_command
from agent.output import Outputs
from agent.processes import Process, identify
from agent.records import Record, Records
from hotswap.model import Kind, Version


@dataclass(frozen=True, slots=True)
class Spawned:
    instance: Instance
    ready: BinaryIO
    """Where the one line of `runtime/ready.py` arrives; closed by the caller."""


class Spawner:
    def __init__(self, *, node: str, host: str, state_dir: Path, records: Records, outputs: Outputs) -> None:
        self._node = node
        self._host = host
        self._rooms = state_dir / "rooms"
        self._bytecode = state_dir / "bytecode"
        self._records = records
        self._outputs = outputs

    def spawn(self, version: Version, code: Path) -> Spawned:
        """Raises `StartFailed` when the machine does not let it."""
        name = f"{self._node}-{secrets.token_hex(4)}"
        try:
            self._room(name).make()
            with ExitStack() as files:
                return self._spawn(version, code, name, files)
        except (OSError, ValueError) as error:  # a ValueError for what no command or environment may hold
            self.forget(name)
            raise StartFailed(f"no process can be started: {error}") from error

    def known(self, record: Record) -> Instance | None:
        """The instance of a record, if its process is still the recorded one."""
        if record.process is None:
            return None
        try:
            return self._instance(record, Process(record.process, record.instance))
        except ProcessLookupError:
            return None

    def forget(self, instance: str) -> None:
        """Removes what an instance that is gone left on disk, but for its output."""
        self._room(instance).remove()
        self._records.remove(instance)

    def _spawn(self, version: Version, code: Path, name: str, files: ExitStack) -> Spawned:
        listener = None if version.manifest.kind is Kind.HTTP else files.enter_context(sockets.bind(self._host))
        port = sockets.port_of(listener) if listener else sockets.free_port(self._host)
        record = Record(instance=name, version=version, port=port, created=time.time())
        self._records.write(record)
        read, write = os.pipe()
        files.callback(os.close, write)
        with ExitStack() as on_failure:
            ready = on_failure.enter_context(open(read, "rb", buffering=0))
            child = self._start(record, code, listener, write, files)
            on_failure.pop_all()
        identity = identify(child.pid, ended=True)
        assert identity is not None, "a child that was not waited for is there"
        instance = self._instance(record, Process(identity, name, child))
        try:
            self._records.write(instance.record(ready=False))
        except OSError:
            instance.process.kill("could not be written down")
            ready.close()
            raise
        return Spawned(instance, ready)

    def _start(
        self, record: Record, code: Path, listener: socket.socket | None, ready: int, files: ExitStack
    ) -> "subprocess.Popen[bytes]":
        version, name, port = record.version, record.instance, record.port
        inherited = (ready, listener.fileno()) if listener else (ready,)
        if listener:
            bytecode = self._bytecode / version.artifact
            command = runtime_command(version, code=code, bytecode=bytecode, socket=listener.fileno(), ready=ready)
        else:
            command = program_command(version, port=port, ready=ready)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=files.enter_context(self._log(record).open("ab")),
            stderr=subprocess.STDOUT,
            cwd=code,
            env=environment(version, instance=name, node=self._node, code=code, room=self._room(name), port=port),
            start_new_session=True,
            pass_fds=inherited,
        )

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
        )

    def _log(self, record: Record) -> Path:
        return self._outputs.path(record.version.function, record.version.number, record.instance)

    def _room(self, instance: str) -> Room:
        return Room(self._rooms / instance)
