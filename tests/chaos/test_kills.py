"""What is killed without warning costs no invocation that it did not hold in its hands, and no decision."""

import os
import signal
from pathlib import Path

import psutil

from tests.conditions import eventually
from tests.functions import ECHO, write_function
from tests.load import steady_load
from tests.stage import Stage, staged

RATE = 100.0
PHASES = {"canaryIncrements": [10, 50, 100], "canaryDuration": "PT3S", "minInvocations": 5}
ETCD_AWAY = 60.0
MOST_HELD = 20
"""Invocations that one of two workers has in its hands at a time, at this rate; generously."""


async def two_versions(stage: Stage) -> None:
    """Version 1 has the traffic, version 2 is published."""
    for label in ("one", "two"):
        await stage.publish(write_function(stage.folder / label, ECHO, label=label))
    await stage.all_at_once("echo", 1)


async def test_a_canary_goes_on_and_ends_right_when_its_controller_is_killed(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await two_versions(stage)
        async with steady_load(stage.url("echo"), rate=RATE) as seen:
            deployment = await stage.canary("echo", 2, **PHASES)
            await eventually(lambda: seen.versions[2])
            killed = stage.platform.pids["controller"]
            stage.platform.kill("controller")
            await eventually(lambda: stage.platform.pids.get("controller", killed) != killed)
            await stage.hotswap("get", "deployment", deployment, "-w", "--timeout", "90s")
        assert seen.failures == []
        assert await stage.weights("echo") == {"2": 100}
        events = (await stage.deployment(deployment))["verdicts"]
        assert [verdict["outcome"] for verdict in events] == ["PASS"] * 3


async def test_instances_serve_on_without_their_agent_and_the_next_agent_adopts_them(tmp_path: Path) -> None:
    async with staged(tmp_path, agents=1) as stage:
        await two_versions(stage)
        before = instances_of(stage)
        async with steady_load(stage.url("echo"), rate=RATE) as seen:
            async with stage.platform.down("node-1"):
                await eventually(lambda: not stage.platform.nodes)  # its lease has ended, and its endpoint with it
                reached = seen.answered
                await eventually(lambda: seen.answered > reached + 2 * RATE)
            await eventually(lambda: stage.platform.nodes)
            await stage.all_at_once("echo", 2)
        assert seen.failures == []
        assert set(seen.versions) == {1, 2}
        await eventually(lambda: not any(psutil.pid_exists(pid) for pid in before))


async def test_an_agent_that_is_back_adopts_the_processes_that_run(tmp_path: Path) -> None:
    async with staged(tmp_path, agents=1) as stage:
        await two_versions(stage)
        before = instances_of(stage)
        boot = stage.platform.nodes[0].boot
        stage.platform.kill("node-1")
        await eventually(lambda: [node for node in stage.platform.nodes if node.boot != boot])
        assert (await stage.hotswap("invoke", "echo", "--data", "{}")).json["label"] == "one"
        assert instances_of(stage) == before


async def test_a_router_worker_that_is_killed_loses_no_count(tmp_path: Path) -> None:
    async with staged(tmp_path, workers=2) as stage:
        await two_versions(stage)
        async with steady_load(stage.url("echo"), rate=RATE) as seen:
            await eventually(lambda: seen.answered > RATE)
        assert seen.failures == []
        assert (await stage.counted("echo"))["production", 1] == seen.answered
        os.kill(router_workers(stage)[0], signal.SIGKILL)
        assert (await stage.counted("echo"))["production", 1] == seen.answered


async def test_a_router_worker_that_is_killed_breaks_only_what_it_held_and_is_replaced(tmp_path: Path) -> None:
    async with staged(tmp_path, workers=2) as stage:
        await two_versions(stage)
        async with steady_load(stage.url("echo"), rate=RATE) as seen:
            await eventually(lambda: seen.answered > RATE)
            worker = router_workers(stage)[0]
            os.kill(worker, signal.SIGKILL)
            await eventually(lambda: worker not in router_workers(stage) and len(router_workers(stage)) == 2)
            reached = seen.answered
            await eventually(lambda: seen.answered > reached + RATE)
        assert all(failure.startswith(("ServerDisconnected", "ClientOSError")) for failure in seen.failures)
        assert len(seen.failures) < MOST_HELD
        assert seen.answered <= (await stage.counted("echo"))["production", 1] <= seen.sent


async def test_invocations_never_fail_while_etcd_is_away_and_the_deployment_goes_on_afterwards(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await two_versions(stage)
        async with steady_load(stage.url("echo"), rate=RATE) as seen:
            deployment = await stage.canary("echo", 2, **PHASES)
            await eventually(lambda: seen.versions[2])
            async with stage.platform.down("etcd"):
                reached = seen.answered
                await eventually(lambda: seen.answered > reached + RATE * ETCD_AWAY, limit=ETCD_AWAY * 2)
            await stage.hotswap("get", "deployment", deployment, "-w", "--timeout", "100s")
        assert seen.failures == []
        assert await stage.weights("echo") == {"2": 100}


def instances_of(stage: Stage) -> set[int]:
    """Pids of the processes that run functions for the platform: they name its state directory in their environment."""
    found = set()
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if "HOTSWAP_FUNCTION" in environment and str(stage.platform.state_dir) in environment.get("HOME", ""):
            found.add(process.pid)
    return found


def router_workers(stage: Stage) -> list[int]:
    return sorted(child.pid for child in psutil.Process(stage.platform.pids["router"]).children())
