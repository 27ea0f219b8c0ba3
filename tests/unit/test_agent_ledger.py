"""What is kept of the instances of a version: sums that never fall, of not too many versions."""

from dataclasses import dataclass, field
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from agent import ledger
from agent.cause import Cause
from agent.instance import Instance
from agent.ledger import Ledger
from agent.processes import Exit
from agent.resources import Used


class Ended:
    """The future of an exit."""

    def __init__(self, exit_: Exit) -> None:
        self._exit = exit_

    def result(self) -> Exit:
        return self._exit


@dataclass
class Process:
    pid: int
    exited: Ended | None = None

    @property
    def running(self) -> bool:
        return self.exited is None


@dataclass
class Version:
    function: str = "f"
    number: int = 1


@dataclass(eq=False)
class Fake:
    """As much of an instance as is looked at."""

    process: Process
    version: Version = field(default_factory=Version)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def instance(self) -> Instance:
        return cast(Instance, self)

    def end(self, *, cpu: float = 0.0, code: int | None = 0) -> Instance:
        self.process.exited = Ended(Exit(code, cpu=cpu))
        return self.instance


KEY = ("f", 1)


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["start", "look", "end"]), st.floats(0, 1000))))
def test_processor_time_never_falls(steps: list[tuple[int, str, float]]) -> None:
    kept, running, before = Ledger(), dict[int, Fake](), 0.0
    kept.started(Fake(Process(0)).instance)
    for pid, what, cpu in steps:
        if what == "start" and pid not in running:
            running[pid] = Fake(Process(pid))
            kept.started(running[pid].instance)
        elif what == "look":
            kept.seen({pid: Used(cpu=cpu)})  # what is seen may fall, as processes leave the session
        elif what == "end" and pid in running:
            kept.ended(running.pop(pid).end(cpu=cpu))
        now = kept.cpu()[KEY]
        assert now >= before
        before = now


def test_one_that_was_taken_over_counts_from_there() -> None:
    kept, one = Ledger(), Fake(Process(7))
    kept.adopted([one.instance], {7: Used(cpu=90)})
    kept.seen({7: Used(cpu=95)})
    assert kept.cpu() == {KEY: 5}
    kept.ended(one.end(code=None))
    assert kept.cpu() == {KEY: 5}
    assert kept.accounts[KEY].ends == {Cause.UNKNOWN: 1}
    assert kept.accounts[KEY].starts == 0


def test_one_that_does_not_end_has_not_ended() -> None:
    kept, one = Ledger(), Fake(Process(7))
    kept.started(one.instance)
    kept.ended(one.instance)
    assert not kept.accounts[KEY].ends


def test_starts_are_told_by_their_parts() -> None:
    kept = Ledger()
    for milliseconds in (100, 300):
        kept.started(Fake(Process(1), figures={"import_ms": milliseconds, "memory": 1e9}).instance)
    assert kept.accounts[KEY].parts == {"import": (2, 0.4)}


def test_of_versions_that_are_gone_the_last_are_kept() -> None:
    kept = Ledger()
    for number in range(1, ledger.KEPT + 4):
        kept.failed("f", number)
    kept.failed("f", 1)  # the newest news are of it
    kept.forget([("f", 2)])
    assert len(kept.accounts) == ledger.KEPT + 1
    assert ("f", 1) in kept.accounts
    assert ("f", 2) in kept.accounts
    assert ("f", 3) not in kept.accounts
