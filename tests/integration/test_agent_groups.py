"""Control groups as the kernel has them: where an agent finds itself, what it can make of that, and how groups end.

Most are of version 2 and need root, who makes the group that an agent is started in; scripts/test-cgroup2 has both.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import cgroups
from agent.cgroups import Allowed, Control, Groups, Hierarchy
from tests.conditions import PATIENCE, eventually

ALLOWED = Allowed(memory=64, tasks=20, cpu=0.5)
NOBODY = 65534
ALL = {str(control): "cgroup v2" for control in Control}
NONE = {str(control): "" for control in Control}
AGENT = """
import json, logging, os, sys
from pathlib import Path
from agent import cgroups
from agent.cgroups import Control, Groups

logging.basicConfig(stream=sys.stdout, format="%(message)s")
groups = Groups(cgroups.detect(), Path(sys.argv[1]))
print(json.dumps({control: groups.guard(control) for control in Control}), flush=True)
for group in groups.make("node-1-abc", cgroups.Allowed(64, 20, None)):
    if os.fork() == 0:
        Path(group).write_text(str(os.getpid()))
        os._exit(0)
    assert os.wait()[1] == 0
groups.remove("node-1-abc")
print("made", flush=True)
sys.stdin.read()
"""
EATS = """
import os, sys, time

for group in sys.argv[1:]:
    with open(group, "w") as file:
        file.write(str(os.getpid()))
if os.fork() == 0:
    time.sleep(600)
kept = []
while True:
    kept.append(bytearray(4 << 20))
"""
HIDES = """
import os, sys, time

for group in sys.argv[1:]:
    below = os.path.join(os.path.dirname(group), "below")
    os.mkdir(below)
    with open(os.path.join(below, "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))
print("in", flush=True)
time.sleep(600)
"""


@dataclass(frozen=True, slots=True)
class Found:
    guards: dict[str, str]
    said: str
    """What the agent logged."""
    pid: int


@pytest.fixture
def group() -> Iterator[Path]:
    """An empty group of version 2 with all controllers, which are not given on."""
    hierarchy = next((it for it in cgroups.detect() if it.version == 2), None)
    if hierarchy is None or hierarchy.controls != set(Control) or os.geteuid() != 0:
        pytest.skip("NOT TESTED: this takes cgroup v2 with its controllers, and root; see scripts/test-cgroup2")
    made = hierarchy.folder / f"test-{secrets.token_hex(4)}"
    made.mkdir()
    yield made
    (made / "cgroup.kill").write_text("1")
    for folder, _, _ in os.walk(made, topdown=False):
        Path(folder).rmdir()


def put(pid: int, group: Path) -> None:
    (group / "cgroup.procs").write_text(str(pid))


def members(group: Path) -> list[int]:
    return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]


def as_user(user: int, *command: str) -> list[str]:
    return ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *command]


@asynccontextmanager
async def other(group: Path) -> AsyncIterator[int]:
    """Another process in the group."""
    process = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        put(process.pid, group)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def agent(group: Path, state_dir: Path, *, user: int = 0, inside: str = "") -> AsyncIterator[Found]:
    """What an agent that is started in the group makes of it. `inside`: commands, in a container before it starts."""
    start = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    command = as_user(user, sys.executable, "-c", AGENT, str(state_dir))
    if inside:
        # what is mounted there has the group as its root
        mounted = f'umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && {inside} && exec "$@"'
        command = ["unshare", "--cgroup", "--mount", "sh", "-c", mounted, "sh", *command]
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", start, "sh", *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        said: list[str] = []
        async with asyncio.timeout(60 * PATIENCE):
            while not (line := (await process.stdout.readline()).decode()).startswith("{"):
                assert line, f"it ended, and said {said}"
                said.append(line)
            assert await process.stdout.readline() == b"made\n"
        yield Found(json.loads(line), "".join(said), process.pid)
    finally:
        process.stdin.close()
        await process.wait()


async def test_an_agent_alone_in_its_group_moves_into_a_leaf(group: Path, tmp_path: Path) -> None:
    async with agent(group, tmp_path) as found:
        assert (found.guards, found.said) == (ALL, "")
        assert (members(group), members(group / "agent")) == ([], [found.pid])


async def test_the_next_agent_in_that_leaf_makes_its_groups_in_the_same_place(group: Path, tmp_path: Path) -> None:
    async with agent(group, tmp_path):
        pass
    async with agent(group / "agent", tmp_path) as found:
        assert (found.guards, found.said) == (ALL, "")


async def test_a_group_that_is_shared_with_others_is_left_as_it_is(group: Path, tmp_path: Path) -> None:
    async with other(group) as pid, agent(group, tmp_path) as found:
        assert found.guards == NONE
        assert f"{group} has other processes, too; start the agent in a group of its own" in found.said
        assert sorted(members(group)) == sorted([pid, found.pid])


async def test_a_unit_that_systemd_has_not_delegated_is_not_relied_on(group: Path, tmp_path: Path) -> None:
    """When that is reloaded it takes the controllers from the groups below, and with them all limits."""
    unit = group / "hotswap.service"
    (group / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    unit.mkdir()
    async with agent(unit, tmp_path) as found:
        assert found.guards == NONE
        assert f"systemd has not delegated {unit}; give the unit of the agent Delegate=yes" in found.said
        assert members(unit) == [found.pid]


async def test_a_controller_that_is_taken_away_no_longer_keeps_its_limit(group: Path, tmp_path: Path) -> None:
    (group / "cgroup.subtree_control").write_text("+memory +pids")
    groups = Groups([Hierarchy(2, group, frozenset({Control.MEMORY, Control.PIDS}))], tmp_path)
    groups.make("node-1-abc", ALLOWED)
    (group / "cgroup.subtree_control").write_text("-memory")
    assert [groups.keeps(it, "node-1-abc") for it in (Control.MEMORY, Control.PIDS)] == [False, True]
    groups.make("node-1-def", ALLOWED)
    assert [groups.keeps(it, "node-1-def") for it in (Control.MEMORY, Control.PIDS)] == [True, True]


async def test_one_that_cannot_be_had_again_keeps_nobody_from_starting(
    group: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inner = group / "inner"
    inner.mkdir()
    for folder in (group, inner):
        (folder / "cgroup.subtree_control").write_text("+memory +pids")
    groups = Groups([Hierarchy(2, inner, frozenset({Control.MEMORY, Control.PIDS}))], tmp_path)
    (inner / "cgroup.subtree_control").write_text("-memory")
    (group / "cgroup.subtree_control").write_text("-memory")
    groups.make("node-1-abc", ALLOWED)
    assert [groups.keeps(it, "node-1-abc") for it in (Control.MEMORY, Control.PIDS)] == [False, True]
    assert f"instances are not limited in their memory by cgroup v2: {inner}" in caplog.text


async def test_out_of_a_delegated_group_all_move(group: Path, tmp_path: Path) -> None:
    os.setxattr(group, cgroups.DELEGATED[0], b"1")
    async with other(group) as pid, agent(group, tmp_path) as found:
        assert (found.guards, found.said) == (ALL, "")
        assert (members(group), sorted(members(group / "agent"))) == ([], sorted([pid, found.pid]))


async def test_out_of_the_group_of_a_container_all_move(group: Path, tmp_path: Path) -> None:
    async with other(group) as pid, agent(group, tmp_path, inside="true") as found:
        assert (found.guards, found.said) == (ALL, "")
        assert (members(group), sorted(members(group / "agent"))) == ([], sorted([pid, found.pid]))


async def test_where_a_container_may_not_write_no_group_is_relied_on(group: Path, tmp_path: Path) -> None:
    async with agent(group, tmp_path, inside="mount -o remount,bind,ro /sys/fs/cgroup") as found:
        assert found.guards == NONE
        assert "/sys/fs/cgroup may not be written to" in found.said


@pytest.fixture
def ordinary() -> int:
    """A user who is not root, and can run what we run."""
    tried = subprocess.run(as_user(NOBODY, sys.executable, "-c", "import agent"), capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"NOT TESTED: {sys.executable} and this folder are not for every user")
    return NOBODY


async def test_an_ordinary_user_makes_groups_in_one_that_is_his(group: Path, tmp_path: Path, ordinary: int) -> None:
    for path in (group, *(group / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
        os.chown(path, ordinary, ordinary)
    async with agent(group, tmp_path, user=ordinary) as found:
        assert (found.guards, found.said) == (ALL, "")


async def test_a_group_into_which_no_process_may_be_moved_is_not_relied_on(
    group: Path, tmp_path: Path, ordinary: int
) -> None:
    os.chown(group, ordinary, ordinary)
    os.chown(group / "cgroup.subtree_control", ordinary, ordinary)
    async with agent(group, tmp_path, user=ordinary) as found:
        assert found.guards == NONE
        assert "cgroup.procs may not be written to" in found.said


async def test_a_controller_that_is_not_given_is_the_only_one_that_is_missed(group: Path, tmp_path: Path) -> None:
    (group / "cgroup.subtree_control").write_text("+memory +pids")
    inner = group / "inner"
    inner.mkdir()
    async with agent(inner, tmp_path) as found:
        assert found.guards == ALL | {"cpu": ""}


def real(folder: Path) -> list[Hierarchy]:
    found = cgroups.detect()
    if not Groups(found, folder).guard(Control.MEMORY):
        pytest.skip("NOT TESTED: this machine lets us have no control groups for memory")
    return found


async def ended(groups: Groups) -> None:
    def gone() -> bool:
        for name in groups.names():
            groups.remove(name)
        return not groups.names()

    await eventually(gone)


async def test_what_has_no_memory_left_ends_as_a_whole(tmp_path: Path) -> None:
    """Version 1 ends the process that has the most."""
    groups = Groups(real(tmp_path), tmp_path)
    files = groups.make("node-1-abc", ALLOWED)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", EATS, *files)
    try:
        assert await asyncio.wait_for(process.wait(), 60 * PATIENCE) == -signal.SIGKILL
        assert groups.killed_for_memory("node-1-abc") > 0
        assert groups.out_of_its_memory("node-1-abc")
        if groups.guard(Control.MEMORY) == "cgroup v2":
            await eventually(lambda: not members(Path(files[0]).parent))
    finally:
        await ended(groups)


async def test_memory_that_others_lack_is_not_told_as_its_own_limit(tmp_path: Path) -> None:
    hierarchy = next(it for it in real(tmp_path) if Control.MEMORY in it.controls)
    outer = hierarchy.folder / f"test-{secrets.token_hex(4)}"
    outer.mkdir()
    try:
        if hierarchy.version == 2:
            (outer / "memory.max").write_text(str(48 << 20))
            (outer / "cgroup.subtree_control").write_text("+memory")
        else:
            (outer / "memory.limit_in_bytes").write_text(str(48 << 20))
        groups = Groups([Hierarchy(hierarchy.version, outer, frozenset({Control.MEMORY}))], tmp_path)
        files = groups.make("node-1-abc", Allowed(memory=4096, tasks=20, cpu=None))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", EATS, *files)
        assert await asyncio.wait_for(process.wait(), 60 * PATIENCE) == -signal.SIGKILL
        assert groups.killed_for_memory("node-1-abc") > 0
        assert not groups.out_of_its_memory("node-1-abc")
        await ended(groups)
    finally:
        outer.rmdir()


async def test_what_hides_in_a_group_of_its_own_is_found_and_ended(tmp_path: Path) -> None:
    groups = Groups(real(tmp_path), tmp_path)
    files = groups.make("node-1-abc", ALLOWED)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(ended, groups)
        process = await asyncio.create_subprocess_exec(*(sys.executable, "-c", HIDES, *files), stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"in\n"
        assert groups.remove("node-1-abc") == {process.pid}
        assert await asyncio.wait_for(process.wait(), 60 * PATIENCE) == -signal.SIGKILL
