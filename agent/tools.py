"""What the slots of a node work with."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from agent import packages
from agent.artifacts import Artifacts
from agent.launcher import Launcher
from agent.ledger import Ledger
from agent.nodes import Announcer
from agent.proven import Proven
from hotswap.model import Kind, Version


@dataclass(frozen=True, slots=True)
class Tools:
    """All slots share it."""

    node: str
    artifacts: Artifacts
    launcher: Launcher
    proven: Proven
    announcer: Announcer
    version: Callable[[str, int], Awaitable[Version]]
    """Raises `NotFound`, or `Unavailable` when the store is away."""
    known: Callable[[int], Awaitable[None]]
    """Returns when every router has the endpoints of this revision."""
    random: Random
    ledger: Ledger
    hurry: asyncio.Event
    """Set when the agent must end now."""

    async def fetched(self, version: Version) -> tuple[Path, float]:
        """The folder of its code, and the seconds that took. Raises `Invalid`, `Unavailable`.

        What packages a program of the kind `http` needs is its own affair: it may bring an interpreter.
        """
        began = time.monotonic()
        code = await self.artifacts.folder(version.artifact, version.size)
        if version.manifest.kind is not Kind.HTTP:
            packages.check(code)
        return code, time.monotonic() - began
