"""`hotswap up` as a process: started, stopped, killed, started again."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from hotswap import auth
from hotswap.cli import running
from hotswap.cli.platform import Platform
from hotswap.errors import Refused, Unavailable
from hotswap.settings import EtcdSettings
from tests.conditions import eventually
from tests.functions import ECHO, write_function
from tests.rest import rest_at

LIMIT = 60.0
"""Seconds for anything here."""
FREE = ("--router", "127.0.0.1:0", "--controller", "127.0.0.1:0", "--rest", "127.0.0.1:0")


@dataclass
class Up:
    process: asyncio.subprocess.Process
    state_dir: Path
    told: list[str] = field(default_factory=list)

    @property
    def running(self) -> running.Running:
        found = running.read(self.state_dir)
        assert found
        return found

    async def until(self, text: str) -> None:
        assert self.process.stdout
        async with asyncio.timeout(LIMIT):
            while not any(text in line for line in self.told):
                raw = await self.process.stdout.readline()
                assert raw, f"ended without {text!r}: {self.told}"
                self.told.append(raw.decode().rstrip())

    async def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """The exit code."""
        self.process.send_signal(number)
        out, _ = await asyncio.wait_for(self.process.communicate(), LIMIT)
        self.told += out.decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def up(state_dir: Path, *options: str, agents: int = 1) -> AsyncIterator[Up]:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "hotswap",
            "up",
            "--state-dir",
            str(state_dir),
            "--agents",
            str(agents),
            *FREE,
            *options,
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    started = Up(process, state_dir)
    try:
        yield started
    finally:
        if process.returncode is None:
            await started.end()


async def hotswap(state_dir: Path, *arguments: str, token: str = "", code: int = 0) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hotswap", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOTSWAP_STATE_DIR": str(state_dir), "HOTSWAP_TOKEN": token},
    )
    out, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == code, out.decode()
    return out.decode()


async def deploy_echo(state_dir: Path, folder: Path) -> None:
    await hotswap(state_dir, "publish", str(write_function(folder, ECHO, label="one")))
    await hotswap(state_dir, "deploy", "echo", "1", "--strategy", "all-at-once", "--wait", "--timeout", "60s")


def answer(router: str) -> int:
    """The status of an invocation; 0 where nobody answers."""
    connection = HTTPConnection(router, timeout=LIMIT)
    try:
        connection.request("GET", "/fn/echo")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def works_in(state_dir: Path) -> set[int]:
    """Processes of the platform and of its functions: what has the directory in its command line or works in it."""
    found = set()
    for process in psutil.process_iter():
        try:
            if str(state_dir) in " ".join(process.cmdline()) or Path(process.cwd()).is_relative_to(state_dir):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_stops_in_order_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    state_dir = tmp_path / "state"
    async with up(state_dir, agents=2) as platform:
        await platform.until("ready")
        await deploy_echo(state_dir, tmp_path / "echo")
        addresses = [platform.running.router, platform.running.controller, platform.running.etcd]
        assert answer(platform.running.router) == 200
        assert all(map(listens, addresses))
        assert await platform.end(number) == 0
    assert platform.told[-1] == "stopped"
    assert works_in(state_dir) == set()
    assert not any(map(listens, addresses))
    assert running.read(state_dir) is None


async def test_it_stops_in_the_middle_of_its_start(tmp_path: Path) -> None:
    async with up(tmp_path / "state") as platform:
        await eventually(lambda: (tmp_path / "state" / "platform.json").exists(), limit=LIMIT)
        assert await platform.end() == 0
    assert works_in(tmp_path / "state") == set()


async def test_the_next_one_goes_on_where_it_stopped(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    async with up(state_dir) as first:
        await first.until("ready")
        await deploy_echo(state_dir, tmp_path / "echo")
    async with up(state_dir) as second:
        await second.until("ready")
        assert "production: 1=100" in await hotswap(state_dir, "functions")
        await eventually(lambda: answer(second.running.router) == 200, limit=LIMIT)


async def test_a_second_one_at_the_same_time_is_refused(tmp_path: Path) -> None:
    async with up(tmp_path / "state") as first:
        await first.until("ready")
        async with up(tmp_path / "state") as second:
            await second.until(f"a platform is running in {tmp_path / 'state'} already (process {first.process.pid})")
            assert await asyncio.wait_for(second.process.wait(), LIMIT) == 1
        assert listens(first.running.router)


async def test_after_a_kill_the_services_serve_on_and_the_next_one_takes_over(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    async with up(state_dir) as first:
        await first.until("ready")
        await deploy_echo(state_dir, tmp_path / "echo")
        left = first.running
        first.process.kill()
        await first.process.communicate()
    assert answer(left.router) == 200
    async with up(state_dir) as second:
        await second.until("ready")
        assert any("etcd was left running" in line for line in second.told)
        assert not any(process.alive for process in left.processes.values())
        assert "production: 1=100" in await hotswap(state_dir, "functions")
        assert await second.end() == 0
    assert works_in(state_dir) == set()


async def test_its_controller_obeys_the_admin_whose_token_only_the_owner_can_read(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    async with Platform(state_dir=state_dir, agents=1) as platform:
        file = state_dir / "admin-token"
        assert (file.read_text().strip(), stat.S_IMODE(file.stat().st_mode)) == (platform.token, 0o600)
        assert stat.S_IMODE((state_dir / "agents-token").stat().st_mode) == 0o600
        await deploy_echo(state_dir, tmp_path / "echo")  # the agent fetches it by a token of its own
        assert {token["name"] for token in json.loads(await hotswap(state_dir, "token", "list", "-o", "json"))} == {
            "admin",
            "agents",
        }
        refused = await hotswap(state_dir, "functions", token=auth.new().text, code=1)
        assert "is not known" in refused
        elsewhere = await hotswap(tmp_path / "none", "functions", "--controller", platform.controller, code=1)
        assert "a token is needed" in elsewhere
        for pid in platform.pids.values():
            assert platform.token not in " ".join(psutil.Process(pid).cmdline())
        logs = "".join(file.read_text() for file in platform.logs.iterdir())
        assert 'audit: Deploy subject="echo:production version 1" who="admin (' in logs
        assert platform.token.rpartition("_")[2] not in logs
    async with Platform(state_dir=state_dir, agents=1) as again:
        assert again.token == platform.token
        assert "echo" in await hotswap(state_dir, "functions")


async def test_a_service_that_dies_is_started_again_where_it_was(tmp_path: Path) -> None:
    told: list[str] = []
    async with Platform(state_dir=tmp_path / "state", agents=1, tell=told.append) as platform:
        before, address = platform.pids["router"], platform.router
        platform.kill("router")
        await eventually(lambda: platform.pids.get("router", before) != before, limit=LIMIT)
        await eventually(lambda: listens(address), limit=LIMIT)
    assert any("router was killed by SIGKILL; it is started again" in line for line in told)


async def test_a_service_that_is_held_down_comes_back_at_the_end(tmp_path: Path) -> None:
    async with Platform(state_dir=tmp_path / "state", agents=1) as platform:
        async with platform.down("etcd"):
            await eventually(lambda: "etcd" not in platform.pids)
        await eventually(lambda: "etcd" in platform.pids, limit=LIMIT)


async def test_instances_without_an_agent_are_swept_away_and_nothing_else(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    told: list[str] = []
    async with Platform(state_dir=state_dir, agents=1, tell=told.append) as platform:
        await deploy_echo(state_dir, tmp_path / "echo")
        bystander = await asyncio.create_subprocess_exec("sleep", "60", cwd=state_dir)
        try:
            async with platform.down("node-1"):
                await eventually(lambda: "node-1" not in platform.pids)
                await platform.__aexit__(None, None, None)
            assert any("its agent is gone" in line for line in told)
            assert works_in(state_dir) == {bystander.pid}
        finally:
            bystander.kill()
            await bystander.wait()


async def test_it_uses_an_etcd_that_runs_already(tmp_path: Path, etcd: EtcdSettings) -> None:
    async with up(tmp_path / "state", "--etcd", f"http://{etcd.endpoints[0]}") as platform:
        await platform.until("ready")
        assert platform.running.etcd == etcd.endpoints[0]
        assert "etcd" not in platform.running.processes
    assert listens(etcd.endpoints[0])


async def test_a_start_that_fails_tells_why_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match="controller ended with status 1 before it was ready") as failure:
            async with Platform(state_dir=tmp_path / "state", agents=1, controller=address):
                pass
    assert f"{address} cannot be bound" in str(failure.value)
    assert works_in(tmp_path / "state") == set()


async def test_two_platforms_in_one_process_are_kept_apart_by_the_lock(tmp_path: Path) -> None:
    async with Platform(state_dir=tmp_path / "state", agents=1):
        with pytest.raises(Refused, match="already"):
            async with Platform(state_dir=tmp_path / "state", agents=1):
                pass


async def test_the_rest_interface_is_told_and_answers(tmp_path: Path) -> None:
    async with up(tmp_path / "state") as started:
        await started.until("ready")
        address = started.running.rest
        assert any(line.startswith("rest ") and address in line for line in started.told)
        token = (tmp_path / "state" / "admin-token").read_text().strip()
        async with rest_at(address, Authorization=f"Bearer {token}") as rest:
            assert (await rest.get("/leader")).made()["rest"] == address


async def test_agents_and_controller_are_started_as_up_is_told(tmp_path: Path) -> None:
    archives = str(tmp_path / "archives")
    async with up(tmp_path, "--isolation", "auto", "--preload", "wave", "--artifacts", archives) as it:
        await it.until("Ctrl-C")
        shown = {name: " ".join(psutil.Process(one.pid).cmdline()) for name, one in it.running.processes.items()}
        assert "--isolation auto --preload wave" in shown["node-1"]
        assert f"--artifacts {archives}" in shown["controller"]
        assert await it.end() == 0
