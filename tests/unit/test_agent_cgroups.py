"""Control groups: found in either layout as the kernel tells it, limited, read, and taken away with what is in them."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent import cgroups
from agent.cgroups import Allowed, Control, Groups, Hierarchy
from tests.conditions import eventually

ALL = frozenset(Control)
ALLOWED = Allowed(memory=64, tasks=20, cpu=0.5)
JOINING = """
import os, sys, time

for group in sys.argv[1:]:
    with open(group, "w") as file:
        file.write(str(os.getpid()))
print("in", flush=True)
time.sleep(600)
"""


def told(folder: Path, mounts: list[str], groups: list[str]) -> Path:
    """A process's own files in /proc, for a tree of ours."""
    proc = folder / "proc"
    proc.mkdir()
    (proc / "mountinfo").write_text("".join(f"{30 + n} 1 0:{n} {it}\n" for n, it in enumerate(mounts)))
    (proc / "cgroup").write_text("".join(f"{it}\n" for it in groups))
    return proc


def first(folder: Path, name: str, *, below: str = "", root: str = "/") -> str:
    (folder / name / below).mkdir(parents=True)
    return f"{root} {folder / name} rw,relatime - cgroup cgroup rw,{name}"


def second(folder: Path, *, controllers: str, procs: str = "") -> str:
    own = folder / "unified" / "service"
    own.mkdir(parents=True)
    (own / "cgroup.type").write_text("domain\n")
    (own / "cgroup.controllers").write_text(controllers)
    (own / "cgroup.procs").write_text(procs)
    return f"/ {folder / 'unified'} rw,nosuid - cgroup2 cgroup2 rw"


def test_version_1_has_a_hierarchy_for_each_controller(tmp_path: Path) -> None:
    mounts = [first(tmp_path, "memory", below="a/b"), first(tmp_path, "pids"), first(tmp_path, "freezer")]
    proc = told(tmp_path, mounts, ["9:name=systemd:/", "8:pids:/", "4:memory:/a/b", "0::/"])
    assert cgroups.detect(proc) == [
        Hierarchy(1, tmp_path / "memory/a/b", frozenset({Control.MEMORY})),
        Hierarchy(1, tmp_path / "pids", frozenset({Control.PIDS})),
    ]


def test_controllers_that_are_mounted_together_share_their_groups(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    mount = f"/ {tmp_path / 'both'} rw - cgroup cgroup rw,cpu,cpuacct,memory"
    proc = told(tmp_path, [mount], ["3:cpu,cpuacct,memory:/"])
    assert cgroups.detect(proc) == [Hierarchy(1, tmp_path / "both", frozenset({Control.CPU, Control.MEMORY}))]


def test_in_a_container_only_its_own_part_is_mounted(tmp_path: Path) -> None:
    mount = first(tmp_path, "memory", root="/docker/abc", below="inner")
    proc = told(tmp_path, [mount], ["4:memory:/docker/abc/inner"])
    assert [it.folder for it in cgroups.detect(proc)] == [tmp_path / "memory/inner"]


def test_version_2_gives_the_controllers_that_it_has_to_groups_below(tmp_path: Path) -> None:
    proc = told(tmp_path, [second(tmp_path, controllers="cpuset memory pids")], ["0::/service"])
    folder = tmp_path / "unified/service"
    assert cgroups.detect(proc) == [Hierarchy(2, folder, frozenset({Control.MEMORY, Control.PIDS}))]
    assert (folder / "cgroup.subtree_control").read_text() in {"+memory", "+pids"}


def test_an_agent_that_was_put_into_the_leaf_makes_groups_beside_it(tmp_path: Path) -> None:
    mount = second(tmp_path, controllers="memory")
    (tmp_path / "unified/service" / cgroups.LEAF).mkdir()
    proc = told(tmp_path, [mount], [f"0::/service/{cgroups.LEAF}"])
    assert [it.folder for it in cgroups.detect(proc)] == [tmp_path / "unified/service"]


def test_what_is_mounted_twice_is_one_hierarchy(tmp_path: Path) -> None:
    mount = second(tmp_path, controllers="memory pids")
    proc = told(tmp_path, [mount, mount], ["0::/service"])
    assert [it.folder for it in cgroups.detect(proc)] == [tmp_path / "unified/service"]


def test_a_group_that_is_shared_is_not_used_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    proc = told(tmp_path, [second(tmp_path, controllers="memory", procs=f"1\n{os.getpid()}\n")], ["0::/service"])
    assert cgroups.detect(proc) == []
    assert f"{tmp_path / 'unified/service'} has other processes, too" in caplog.text
    assert not (tmp_path / "unified/service" / cgroups.LEAF).exists()


def test_version_1_is_used_where_version_2_has_no_controllers(tmp_path: Path) -> None:
    """They are mounted beside each other, at /sys/fs/cgroup/unified the one that only has processes."""
    mounts = [second(tmp_path, controllers=""), first(tmp_path, "memory")]
    proc = told(tmp_path, mounts, ["4:memory:/", "0::/service"])
    assert [(it.version, it.folder) for it in cgroups.detect(proc)] == [(1, tmp_path / "memory")]


def test_a_hierarchy_without_controllers_of_ours_is_none(tmp_path: Path) -> None:
    proc = told(tmp_path, [second(tmp_path, controllers="hugetlb")], ["0::/service"])
    assert cgroups.detect(proc) == []


def test_where_there_is_no_proc_there_is_no_group(tmp_path: Path) -> None:
    assert cgroups.detect(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("version", "settings", "counts"),
    [
        (
            1,
            {"memory.limit_in_bytes": "67108864", "pids.max": "20", "cpu.cfs_quota_us": "50000"},
            {
                "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                "memory.memsw.max_usage_in_bytes": "67100672\n",
                "pids.events": "max 7\n",
            },
        ),
        (
            2,
            {"memory.max": "67108864", "pids.max": "20", "cpu.max": "50000 100000"},
            {"memory.events": "low 0\nmax 9\noom 3\noom_kill 2\n", "pids.events": "max 7\n"},
        ),
    ],
)
def test_a_group_has_its_limits_and_tells_what_came_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, settings: dict[str, str], counts: dict[str, str]
) -> None:
    monkeypatch.setattr(Path, "rmdir", lambda path: [file.unlink() for file in path.iterdir()])  # as the kernel does
    groups = Groups([Hierarchy(version, tmp_path, ALL)], Path("/state"))
    [joined] = groups.make("node-1-abc", ALLOWED)
    group = Path(joined).parent
    assert {name: (group / name).read_text() for name in settings} == settings
    assert groups.guard(Control.MEMORY) == f"cgroup v{version}"
    assert groups.keeps(Control.MEMORY, "node-1-abc")
    assert not groups.keeps(Control.MEMORY, "node-1-other")
    assert not groups.out_of_its_memory("node-1-abc")
    assert (groups.killed_for_memory("node-1-abc"), groups.refused_processes("node-1-abc")) == (0, 0)
    for name, text in counts.items():
        (group / name).write_text(text)
    assert (groups.killed_for_memory("node-1-abc"), groups.refused_processes("node-1-abc")) == (2, 7)
    assert groups.out_of_its_memory("node-1-abc")


def test_a_limit_that_cannot_be_set_takes_no_other_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def written(path: Path, text: str) -> int:
        if path.name == "cpu.max":
            raise PermissionError("not here")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", written)
    monkeypatch.setattr(Path, "rmdir", lambda path: [file.unlink() for file in path.iterdir()])
    groups = Groups([Hierarchy(2, tmp_path, ALL)], Path("/state"))
    kept = {control: groups.guard(control) for control in Control}
    assert kept == {Control.MEMORY: "cgroup v2", Control.PIDS: "cgroup v2", Control.CPU: ""}
    [joined] = groups.make("node-1-abc", ALLOWED)
    assert not (Path(joined).parent / "cpu.max").exists()


def test_groups_that_cannot_be_made_are_not_relied_on(tmp_path: Path) -> None:
    groups = Groups([Hierarchy(2, tmp_path / "away", ALL)], Path("/state"))
    assert groups.guard(Control.MEMORY) == ""
    assert groups.make("node-1-abc", ALLOWED) == []
    assert (groups.killed_for_memory("node-1-abc"), groups.remove("node-1-abc")) == (0, set())


async def test_a_real_group_is_joined_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    groups = Groups(cgroups.detect(), tmp_path)
    if not groups.guard(Control.PIDS):
        pytest.skip("NOT TESTED: this machine lets us have no control groups")
    files = groups.make("node-1-abc", ALLOWED)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", JOINING, *files, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"in\n"
        assert groups.names() == {"node-1-abc"}
        assert not Groups(cgroups.detect(), tmp_path / "another").names()
        assert groups.remove("node-1-abc") == {process.pid}
        assert await asyncio.wait_for(process.wait(), 20) == -9

        def gone() -> bool:
            groups.remove("node-1-abc")
            return not groups.names()

        await eventually(gone)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
