"""What an agent keeps on disk, and what becomes of a recorded instance when an agent starts again."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.fence import HighestFence
from agent.processes import Exit, Identity, boot_id, identify, of_instance
from agent.records import Fate, Record, Records, fate
from hotswap.errors import NotLeader
from hotswap.model import Kind, Manifest, Version

PROCESS = Identity(pid=10, started=100, boot="b")


def record(*, process: Identity | None = PROCESS, ready: bool = True, instance: str = "i") -> Record:
    version = Version(
        function="echo",
        number=1,
        artifact="0" * 64,
        size=1,
        manifest=Manifest(function="echo", kind=Kind.HANDLER, entrypoint="app:handler"),
        published=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Record(instance=instance, version=version, port=1, created=1.0, process=process, ready=ready)


@pytest.mark.parametrize(
    ("written", "boot", "present", "expected"),
    [
        pytest.param(record(), "b", PROCESS, Fate.ADOPT, id="it runs"),
        pytest.param(record(ready=False), "b", PROCESS, Fate.STOP, id="it runs, but was not ready"),
        pytest.param(record(), "b", None, Fate.FORGET, id="its process is gone"),
        pytest.param(record(), "b", Identity(10, 101, "b"), Fate.FORGET, id="its pid is another process's"),
        pytest.param(record(), "c", Identity(10, 100, "c"), Fate.FORGET, id="the machine was started again"),
        pytest.param(record(process=None, ready=False), "b", None, Fate.FIND, id="its pid was not written down"),
    ],
)
def test_the_fate_of_a_recorded_instance(written: Record, boot: str, present: Identity | None, expected: Fate) -> None:
    assert fate(written, boot=boot, present=present) == expected


def test_records_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    records = Records(tmp_path / "instances")
    records.write(record(instance="a", ready=False))
    records.write(record(instance="a"))
    records.write(record(instance="b", process=None))
    assert Records(tmp_path / "instances").all() == [record(instance="a"), record(instance="b", process=None)]
    records.remove("a")
    records.remove("a")
    assert [it.instance for it in records.all()] == ["b"]


def test_a_record_that_cannot_be_read_is_removed(tmp_path: Path) -> None:
    records = Records(tmp_path)
    (tmp_path / "a.json").write_text("{")
    assert records.all() == []
    assert list(tmp_path.iterdir()) == []


def test_a_process_is_known_by_more_than_its_pid() -> None:
    mine = identify(os.getpid())
    assert mine is not None
    assert (mine.pid, mine.boot) == (os.getpid(), boot_id())
    assert identify(os.getpid()) == mine
    assert identify(2**22 + 1) is None


def test_a_process_that_only_waits_to_be_reaped_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identify(child.pid) is None
        assert identify(child.pid, ended=True) is not None


def test_a_process_is_found_by_its_instance() -> None:
    name = f"i-{os.getpid()}"
    environment = {"HOTSWAP_INSTANCE": name, "PATH": os.environ["PATH"]}
    command = ["sh", "-c", "echo; read nothing"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.read(1)  # a process has no environment yet while it is being made
            assert [found.pid for found in of_instance(name)] == [child.pid]
            assert of_instance(name[:-1]) == []
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (Exit(0), "exited with code 0"),
        (Exit(3), "exited with code 3"),
        (Exit(-11), "was killed by SIGSEGV"),
        (Exit(-9), "was killed by SIGKILL, which the agent did not send; perhaps the machine ran out of memory"),
        (Exit(-9, "was killed for using 200 MiB of memory"), "was killed for using 200 MiB of memory"),
        (Exit(None), "ended; how is not known, since an earlier agent had started it"),
    ],
)
def test_how_a_process_ended_is_told_in_words(ended: Exit, text: str) -> None:
    assert str(ended) == text


def test_a_lower_fence_is_refused_by_the_next_agent_too(tmp_path: Path) -> None:
    fence = HighestFence(tmp_path / "fence")
    for value in (0, 5, 5, 9):
        fence.check(value)
    with pytest.raises(NotLeader, match="the fence 8 is lower than 9"):
        HighestFence(tmp_path / "fence").check(8)
