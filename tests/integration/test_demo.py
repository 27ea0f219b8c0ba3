"""The demo's own parts, and that it ends cleanly when it is interrupted; `scripts/demo` shows the whole of it."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from examples.demo.load import Invocation, Load, Outcome, judged, mixed, pictures, summary
from examples.demo.story import FOLDER, listens
from hotswap.cli.platform import Platform
from tests.conditions import eventually
from tests.stage import Stage

ROOT = Path(__file__).parents[2]
LIMIT = 60.0


async def test_an_interrupted_demo_leaves_no_process_no_port_and_no_file(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.demo"),
        cwd=ROOT,
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    told: list[str] = []
    async with asyncio.timeout(LIMIT):
        while not any("version 1 serves" in line for line in told):
            told.append((await process.stdout.readline()).decode())
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 130, out.decode()
    assert "interrupted; everything is stopped" in out.decode()
    router = next(line.partition("router ")[2].partition(",")[0] for line in told if "ready: router" in line)
    assert not listens(router)
    assert os.listdir(tmp_path) == []


async def test_a_deployment_under_the_demos_load_fails_no_picture(tmp_path: Path) -> None:
    async with Platform(state_dir=tmp_path / "state", agents=2) as platform:
        stage = Stage(platform, tmp_path)
        for version in ("v1", "v4"):
            await stage.publish(FOLDER / version)
        await stage.all_at_once("image-processor", 1)
        load = Load(stage.url("image-processor"), mixed(pictures(FOLDER / "pictures"), random.Random(1)), rate=20)
        over = asyncio.Event()
        running = asyncio.create_task(load.run(over))
        await eventually(lambda: len(load.done) >= 15)
        await stage.all_at_once("image-processor", 2)
        seen = len(load.done)
        await eventually(lambda: len(load.done) >= seen + 45)
        over.set()
        await running
    failed = [it for it in load.done if it.outcome is not Outcome.GOOD]
    assert {(it.version, it.outcome) for it in failed} == {(2, Outcome.FUNCTION)}
    assert [it.text for it in load.done if it.outcome is Outcome.PLATFORM] == []


def test_only_an_answer_of_the_function_is_held_against_it() -> None:
    exception = b'{"errorMessage": "no", "errorType": "OSError"}'
    assert judged(200, "image/jpeg", b"\xff\xd8\xff...")[0] is Outcome.GOOD
    assert judged(500, "application/json", exception)[0] is Outcome.FUNCTION
    assert judged(503, "application/problem+json", b'{"title": "Service Unavailable"}')[0] is Outcome.PLATFORM
    assert judged(200, "image/jpeg", b"")[0] is Outcome.PLATFORM


def test_a_summary_tells_shares_failures_and_quantiles() -> None:
    good = [Invocation(0.0, seconds / 100, 1, Outcome.GOOD) for seconds in range(1, 100)]
    told = summary([*good, Invocation(0.0, 1.0, 4, Outcome.FUNCTION)])
    assert (told.count, told.shares, told.failed) == (
        100,
        {1: 99.0, 4: 1.0},
        {Outcome.FUNCTION: 1, Outcome.PLATFORM: 0},
    )
    assert (told.p50, told.p99) == (0.51, 1.0)


def test_every_picture_is_sent_as_often_as_the_others() -> None:
    shipped = pictures(FOLDER / "pictures")
    sent = mixed(shipped, random.Random(1))
    rounds = [next(sent) for _ in range(3 * len(shipped))]
    assert {rounds.count(picture) for picture in shipped} == {3}
