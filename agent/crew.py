"""The slots of one version on the node: how many of them have to be awake, and which one is woken or put to sleep.

A version whose instances may be more than they must be has a slot for each that it may have. The first of them start a
process: as many as must run, and one at least of a version that has not proven yet that it starts. The others begin
asleep (`agent.standby`). So there can never be more processes than slots, whoever wakes them.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from agent.load import Reading
from agent.proven import Proven
from agent.scaling import Look, scale
from hotswap.model import Manifest

EVERY = 0.1
"""Seconds between two looks at what instances have in flight."""


class Member(Protocol):
    up: bool
    """It has a process, or is about to start one."""

    @property
    def retiring(self) -> bool: ...

    @property
    def worn(self) -> bool:
        """It is to be replaced."""

    @property
    def asleep(self) -> bool: ...

    def reading(self) -> Reading | None:
        """Of its instance, if that serves and goes on to."""

    def wake(self) -> None: ...

    def sleep(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Window:
    """A time in which the same instances were awake."""

    members: frozenset[Member]
    since: float
    busy: float
    """At its beginning, all added up."""


class Crew:
    def __init__(self, function: str, version: int, proven: Proven) -> None:
        self.members: list[Member] = []
        self._function = function
        self._version = version
        self._proven = proven
        self._is_proven = proven.has(function, version)
        self._manifest: Manifest | None = None
        """`None` until a slot has read the version."""
        self._changed = asyncio.Event()
        self._full: set[Member] = set()
        """Those with more in flight than their concurrency at the last look."""
        self._window: _Window | None = None

    def meet(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def join(self, member: Member) -> None:
        self.members.append(member)

    def leave(self, member: Member) -> None:
        """After the last one has left the version is no more on this node."""
        self.members.remove(member)
        if not self.members:
            self._proven.remove(self._function, self._version)
        self.stir()

    def prove(self) -> None:
        """The version has been ready."""
        if not self._is_proven:
            self._proven.add(self._function, self._version)
            self._is_proven = True
            self.stir()

    def stir(self) -> None:
        """Something has changed of what `may_sleep` goes by."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def may_sleep(self, member: Member) -> bool:
        """Whether it can begin asleep; if not, it counts as up from now on. Waits while the first one has to prove that
        the version starts."""
        while True:
            if self._has_to_start(member):
                member.up = True
                return False
            if self._is_proven:
                return True
            await self._changed.wait()

    def look(self, now: float) -> None:
        """Acts on what is in flight."""
        manifest = self._manifest
        if manifest is None or not manifest.elastic:
            return
        found = {member: reading for member in self.members if (reading := member.reading())}
        full = {member for member, reading in found.items() if reading.in_flight > manifest.concurrency}
        idle_timeout = manifest.idle_timeout.total_seconds()
        scaling = scale(
            [Look(reading.in_flight, reading.idle, it in full & self._full) for it, reading in found.items()],
            least=manifest.min_instances,
            concurrency=manifest.concurrency,
            idle_timeout=idle_timeout,
            average=self._average(found, now, over=idle_timeout),
        )
        self._full = full
        if any(member.up and not member.retiring and member not in found for member in self.members):
            return  # one is on its way up or down
        if scaling.wake:
            self._wake()
        if scaling.sleep is not None:
            list(found)[scaling.sleep].sleep()

    def _has_to_start(self, member: Member) -> bool:
        manifest = self._manifest
        if manifest is None or not manifest.elastic:
            return True
        up = sum(other.up and not (other.retiring or other.worn) for other in self.members if other is not member)
        return up < max(manifest.min_instances, 0 if self._is_proven else 1)

    def _average(self, found: dict[Member, Reading], now: float, *, over: float) -> float | None:
        """In flight, over such a time, when that has passed."""
        busy, window = sum(reading.busy for reading in found.values()), self._window
        if window is None or window.members != found.keys():
            self._window = _Window(frozenset(found), now, busy)
            return None
        if now - window.since < over:
            return None
        self._window = _Window(window.members, now, busy)
        return (busy - window.busy) / (now - window.since)

    def _wake(self) -> None:
        """One, and the next when that one is there."""
        if sleeper := next((member for member in self.members if member.asleep and not member.retiring), None):
            sleeper.wake()


async def watch(crews: Callable[[], Iterable[Crew]]) -> None:
    """Until it is cancelled."""
    while True:
        now = time.monotonic()
        for crew in list(crews()):
            crew.look(now)
        await asyncio.sleep(EVERY)
