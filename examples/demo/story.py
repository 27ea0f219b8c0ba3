"""What the demo shows, act by act, and what has to come true in each."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import aiohttp
import msgspec

from examples.demo.command import Shell
from examples.demo.load import Load, Outcome, mixed, pictures, summary
from examples.demo.stage import Stage, failures
from hotswap.cli.platform import Platform
from hotswap.metrics import Count, Counters, Tally
from hotswap.settings import host_and_port

FUNCTION = "image-processor"
FOLDER = Path(__file__).parents[1] / FUNCTION
AGENTS, WORKERS = 4, 2
RATE = 50.0
"""Invocations a second."""
CALM = 4.0
"""Seconds of load between the acts."""
TO_V3 = {"canaryIncrements": [10, 50, 100], "canaryDuration": "PT6S", "rollbackOnErrorRate": 0.05}
TO_V4 = {"canaryIncrements": [25, 50, 100], "canaryDuration": "PT6S", "rollbackOnErrorRate": 0.05}
"""A quarter of the load for 6 s is 75 pictures: 15 of them are expected to fail, 4 would be too many already."""
SLOW = 20.0
"""Seconds by which a bad version has to be gone."""


async def play(stage: Stage, state_dir: Path) -> None:
    """Raises `HotswapError` when the platform fails; what did not come true is in `stage.checks`."""
    stage.heading("The platform: etcd, a controller, a router with 2 workers, 4 agents")
    async with Platform(state_dir=state_dir, agents=AGENTS, workers=WORKERS, tell=stage.say) as platform:
        stage.say(f"ready: router {platform.router}, {len(platform.pids)} processes")
        shell = Shell(stage, state_dir)
        await first_version(stage, shell)
        sent = mixed(pictures(FOLDER / "pictures"), random.Random(1))
        load = Load(f"http://{platform.router}/fn/{FUNCTION}", sent, RATE)
        async with under_load(stage, load):
            await asyncio.sleep(CALM)
            await all_at_once(stage, shell, load)
            await good_canary(stage, shell, load)
            await bad_canary(stage, shell, load)
        await totals(stage, load, platform)
    addresses = (platform.router, platform.admin, platform.controller, *platform.etcd.endpoints)
    ports = [address for address in addresses if listens(address)]
    stage.expect("no process and no port is left", true=not platform.pids and not ports)


def listens(address: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(host_and_port(address, option="address")) == 0


@asynccontextmanager
async def under_load(stage: Stage, load: Load) -> AsyncIterator[None]:
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.run(over), name="load")
        try:
            async with stage.watching(load):
                yield
        finally:
            over.set()


async def first_version(stage: Stage, shell: Shell) -> None:
    await shell.run("publish", f"examples/{FUNCTION}/v1")
    code, _ = await shell.run("deploy", FUNCTION, "1", "--strategy", "all-at-once", "--wait")
    stage.expect("version 1 serves", true=code == 0)


async def all_at_once(stage: Stage, shell: Shell, load: Load) -> None:
    stage.heading("All-At-Once to version 2")
    await shell.run("publish", f"examples/{FUNCTION}/v2")
    code, _ = await shell.run("deploy", FUNCTION, "2", "--strategy", "all-at-once", "--wait")
    stage.expect("the deployment of version 2 succeeded", true=code == 0)
    stage.expect("version 2 has all the traffic", true=await only(load, 2))


async def good_canary(stage: Stage, shell: Shell, load: Load) -> None:
    stage.heading("Canary to version 3, in phases of 6 s")
    await shell.run("publish", f"examples/{FUNCTION}/v3")
    code, _ = await shell.run("deploy", FUNCTION, "3", *CANARY, config=TO_V3)
    stage.expect("the canary of version 3 passed every phase", true=code == 0)
    stage.expect("version 3 has all the traffic", true=await only(load, 3))


async def bad_canary(stage: Stage, shell: Shell, load: Load) -> None:
    stage.heading("Canary to version 4, which fails with one picture in five")
    await shell.run("publish", f"examples/{FUNCTION}/v4")
    code, last = await shell.run("deploy", FUNCTION, "4", *CANARY, config=TO_V4)
    stage.expect("the canary of version 4 was rolled back by itself", true=code == 1 and "RolledBack" in last)
    stage.expect("version 3 has all the traffic again", true=await only(load, 3))
    picked = [it.at for it in load.done if it.version == 4]
    failed = [it.at for it in load.done if it.version == 4 and it.outcome is Outcome.FUNCTION]
    stage.expect(f"version 4 failed {len(failed)} of {len(picked)} invocations, by itself", true=bool(failed))
    if failed:
        took = max(picked) - min(failed)
        stage.expect(f"rolled back {took:.1f} s after the first failure", true=took < SLOW)
    await tell_decision(stage, shell, max(picked, default=0.0))


CANARY = ("--strategy", "canary", "--config", "-", "--wait")


async def tell_decision(stage: Stage, shell: Shell, last_pick: float) -> None:
    """How long the platform took once the phase was judged; the phase itself is the user's choice."""
    deployments = await shell.document("list", "deployments", "--limit", "1")
    verdicts = deployments[0]["verdicts"]
    if verdicts:
        judged = datetime.fromisoformat(verdicts[-1]["at"]).timestamp()
        stage.say(f"from the verdict to the last picture for version 4: {max(0.0, last_pick - judged) * 1000:.0f} ms")


async def only(load: Load, version: int) -> bool:
    """Whether what begins from now on is answered by this version alone."""
    begin = len(load.done)
    await asyncio.sleep(CALM)
    last = load.done[begin:][-int(RATE) :]
    return bool(last) and {it.version for it in last} == {version}


async def totals(stage: Stage, load: Load, platform: Platform) -> None:
    stage.heading("Totals")
    total = summary(load.done)
    for version, share in total.shares.items():
        stage.say(f"version {version}: {share:5.1f} % of the invocations")
    stage.say(f"latency: p50 {1000 * total.p50:.1f} ms, p99 {1000 * total.p99:.1f} ms")
    for text in sorted({it.text for it in load.done if it.outcome is Outcome.PLATFORM}):
        stage.say(f"failed by the platform: {text}")
    stage.expect(f"{total.count} invocations: {failures(total)}", true=not total.failed[Outcome.PLATFORM])
    blamed = {it.version for it in load.done if it.outcome is Outcome.FUNCTION}
    stage.expect("no version but 4 failed", true=blamed <= {4})
    counted = await counters(platform)
    text = f"the router counted them too: {counted.invocations}, of them {counted.errors} errors"
    stage.expect(text, true=counted.invocations == total.count and counted.errors == total.failed[Outcome.FUNCTION])
    stage.expect(f"failed on account of the platform: {counted[Count.PLATFORM]}", true=not counted[Count.PLATFORM])


async def counters(platform: Platform) -> Tally:
    """What the router counted of the function through its alias, in all."""
    url = f"http://{platform.admin}/counters"
    async with aiohttp.ClientSession() as session, session.get(url, params={"function": FUNCTION}) as answer:
        told = msgspec.json.decode(await answer.read(), type=Counters)
    return Tally.total(row.tally.counts for row in told.rows if row.alias)
