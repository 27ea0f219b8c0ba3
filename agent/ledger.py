"""What the instances of each version have used and come to since the agent began, those that have ended included.

Processor time is a sum that never falls: of an instance that runs the most that was ever seen counts, since a process
that it left to nobody takes its time along; of one that ended, what the kernel told when it was waited for. An instance
that an earlier agent started is counted from when it was taken over.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.cause import Cause
from agent.coldstarts import ColdStarts
from agent.instance import Instance
from agent.resources import Used
from hotswap.figures import PARTS

KEPT = 1_000
"""Versions that have no slot any more and are told of still; of more, those go that were the first to end."""

MICROSECONDS = 1_000_000

Key = tuple[str, int]
"""Function and version."""


@dataclass(slots=True)
class Account:
    starts: int = 0
    wakes: int = 0
    restarts: int = 0
    ends: Counter[Cause] = field(default_factory=Counter)
    parts: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Of starts: of how many it is known, and how many seconds they took."""
    spent: int = 0
    """Microseconds of processor time of those that have ended: sums of whole numbers do not fall by their rounding."""


class Ledger:
    def __init__(self) -> None:
        self.cold = ColdStarts()
        self.accounts: dict[Key, Account] = {}
        """Those that something was written to last are last."""
        self._seen: dict[Instance, int] = {}
        """Microseconds of processor time, of those that run."""
        self._before: dict[Instance, int] = {}
        """What it had used when it was taken over."""

    def started(self, instance: Instance) -> None:
        account = self._of(_key(instance))
        account.starts += 1
        self._seen[instance] = 0
        for name, milliseconds in instance.figures.items():
            part = name.removesuffix("_ms")
            if part in PARTS:
                count, seconds = account.parts.get(part, (0, 0.0))
                account.parts[part] = count + 1, seconds + milliseconds / 1e3

    def woken(self, instance: Instance) -> None:
        """It was started by an invocation that waits for it."""
        self._of(_key(instance)).wakes += 1
        self.cold.woken(instance)

    def adopted(self, instances: Iterable[Instance], found: Mapping[int, Used]) -> None:
        """`found`: what they had used by then, by pid."""
        for instance in instances:
            self._of(_key(instance))
            cpu = found.get(instance.process.pid, Used()).cpu
            self._seen[instance] = self._before[instance] = _microseconds(cpu)

    def seen(self, found: Mapping[int, Used]) -> None:
        for instance, most in self._seen.items():
            self._seen[instance] = max(most, _microseconds(found.get(instance.process.pid, Used()).cpu))

    def ended(self, instance: Instance) -> None:
        """By itself or not; nothing is written of one that does not end."""
        self.cold.ended(instance)
        if instance.process.running or instance not in self._seen:
            return
        exited, account = instance.process.exited.result(), self._of(_key(instance))
        account.ends[exited.kind] += 1
        most = max(self._seen.pop(instance), _microseconds(exited.cpu))
        account.spent += most - self._before.pop(instance, 0)

    def failed(self, function: str, version: int) -> None:
        """An instance did not become ready."""
        self._of((function, version)).ends[Cause.START] += 1

    def restarted(self, function: str, version: int) -> None:
        self._of((function, version)).restarts += 1

    def cpu(self) -> dict[Key, float]:
        """Seconds of processor time of all that a version has run."""
        total = {key: account.spent for key, account in self.accounts.items()}
        for instance, most in self._seen.items():
            total[_key(instance)] += most - self._before.get(instance, 0)
        return {key: spent / MICROSECONDS for key, spent in total.items()}

    def forget(self, present: Iterable[Key]) -> None:
        """Versions that are long gone."""
        there = set(present)
        gone = [key for key in self.accounts if key not in there]
        for key in gone[: max(0, len(gone) - KEPT)]:
            del self.accounts[key]

    def _of(self, key: Key) -> Account:
        """Moves it to the end."""
        account = self.accounts.pop(key) if key in self.accounts else Account()
        self.accounts[key] = account
        return account


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def _key(instance: Instance) -> Key:
    return instance.version.function, instance.version.number
