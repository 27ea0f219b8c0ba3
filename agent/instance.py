"""One instance: one process that runs one version."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from agent import sockets
from agent.cause import Cause
from agent.isolation import Room
from agent.load import Load
from agent.processes import Process
from agent.records import Record
from hotswap.model import Endpoint, Version


class StartFailed(Exception):
    """An instance did not become ready; the message says why, with its last lines of output."""

    def __init__(self, message: str, *, final: bool = False, cause: Cause = Cause.START) -> None:
        super().__init__(message)
        self.final = final
        """Starting the same again will not help."""
        self.cause = cause
        """`START`, unless it was ended for what it used."""


@dataclass(eq=False, slots=True)
class Instance:
    id: str
    version: Version
    process: Process
    host: str
    port: int
    created: float
    """Unix time."""
    log: Path
    room: Room
    group: str
    """The name of its control groups."""
    confined: bool = False
    figures: dict[str, float] = field(default_factory=dict)
    """What its start took, and what the runtime told when it was ready: fetch_ms, spawn_ms, ready_ms, import_ms,
    init_ms, warm_ms, memory."""
    load: Load | None = None
    """What it has in flight; a program tells nothing of that."""
    worn: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is to be replaced: what it was asked does not end."""
    memory: int = 0
    """Bytes in use, when they were last looked at."""

    @property
    def parts(self) -> str:
        """Of its start, for the log."""
        parts = {name[:-3]: took for name, took in self.figures.items() if name.endswith("_ms")}
        return ", ".join(f"{name} {took:.1f} ms" for name, took in parts.items())

    @property
    def address(self) -> str:
        return sockets.address(self.host, self.port)

    def endpoint(self, node: str) -> Endpoint:
        return Endpoint(
            function=self.version.function,
            version=self.version.number,
            instance=self.id,
            node=node,
            address=self.address,
            concurrency=self.version.manifest.concurrency,
        )

    def close(self) -> None:
        """It is not looked at any more."""
        if self.load:
            self.load.close()

    def record(self, *, ready: bool) -> Record:
        return Record(
            instance=self.id,
            version=self.version,
            port=self.port,
            created=self.created,
            process=self.process.identity,
            ready=ready,
            confined=self.confined,
            group=self.group,
        )
