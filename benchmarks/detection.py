"""How soon a bad version is taken back: from its first error that a client sees to the last answer that it gives.

The whole platform in real processes (etcd, controller, router with 2 workers, 2 nodes) under steady 100 invocations/s.
A version that fails half of the time, by chance, gets a tenth of them by a canary with the limits that it has by
default, and is taken back by the guard; again and again. What passes is told by parts:

- *evidence*: until a client had seen as many answers as the guard needs, which it is asked after each of them. What
  is in this part no measuring can shorten;
- *noticed*: from there to the controller's verdict, so with the routers' telling of it;
- *written*: until the weights were seen to have changed in etcd;
- *turned*: until the last answer of the version had come.

Exit code 1 if a run ended otherwise, or the median is over 2 s.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from hotswap import etcd
from hotswap.deployment import Deployment, Status
from hotswap.judge.basis import Basis, Epoch
from hotswap.judge.guard import watch
from hotswap.judge.verdict import Verdict
from hotswap.metrics import Count, Tally
from hotswap.mirror import Mirror, mirrored
from hotswap.model import Alias, encode
from hotswap.requests import Canary, CanaryConfig, Limits
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from hotswap.rpc.callers import credentials
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from hotswap.store import Store
from tests.functions import ECHO, write_function
from tests.load import Seen, steady_load
from tests.stage import Stage, staged

RATE = 100.0
SHARE = 10
"""Percent of it that the canary gets."""
GOOD, BAD = 1, 2
TO_REACH = 2.0
"""Seconds, of the median."""
LIMIT = 60.0
"""Seconds for one run."""
PARTS = ("evidence", "noticed", "written", "turned")
FAILING = """
    import random

    def handler(event, context):
        if random.random() < 0.5:
            raise RuntimeError("this version is bad")
        return {}
"""


class Answer(NamedTuple):
    at: float
    """By the clock of the wall, as the controller tells its verdict."""
    version: int
    failed: bool


@dataclass
class Answers(Seen):
    come: list[Answer] = field(default_factory=list)

    def answer(self, status: int, version: int, text: str) -> None:
        super().answer(status, version, text)
        self.come.append(Answer(time.time(), version, status != 200))


@dataclass(frozen=True)
class Run:
    total: float
    """Seconds, and so are the parts, in the order of `PARTS`."""
    parts: list[float]
    invocations: int
    """Of the version, that the verdict rests on; so are the errors."""
    errors: int
    failed: int
    """Invocations that failed in all."""


def told(answers: list[Answer], verdict: Verdict, *, written: float) -> Run:
    mine = [one for one in answers if one.version == BAD]
    first, last = next(one.at for one in mine if one.failed), mine[-1].at
    moments = [first, enough(answers), verdict.at.timestamp(), written, last]
    return Run(
        total=last - first,
        parts=[max(0.0, after - before) for before, after in pairwise(moments)],
        invocations=verdict.invocations,
        errors=verdict.errors,
        failed=sum(one.failed for one in mine),
    )


def enough(answers: Iterable[Answer]) -> float:
    """When the guard, had it been asked after each answer, would have had its evidence."""
    good, bad, beside = 0, 0, 0
    for one in answers:
        if one.version == GOOD:
            beside += 1
            continue
        good, bad = good + (not one.failed), bad + one.failed
        if one.failed and watch(_basis(good, bad, beside)):
            return one.at
    raise ValueError("nothing that was answered is evidence")


def _basis(good: int, bad: int, beside: int) -> Basis:
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.EXCEPTION] = good, bad
    epoch = Epoch(invocations=good + bad, errors=bad, beside=beside, beside_errors=0)
    now = datetime.now(UTC)
    return Basis(version=BAD, step=0, at=now, tally=Tally(counts=counts), limits=Limits(), epochs=[epoch])


class Scene:
    """A function with a good version that has the traffic, and a bad one."""

    def __init__(self, stage: Stage, controller: Any, aliases: Mirror[Alias], deployments: Mirror[Deployment]) -> None:
        self._controller = controller
        self._aliases = aliases
        self._deployments = deployments
        self._shown = credentials(stage.platform.token)

    async def run(self, seen: Answers) -> Run:
        """One canary, from its beginning to its end."""
        seen.come.clear()
        canary = CanaryConfig(canary_percentage=SHARE, canary_duration=timedelta(minutes=10))
        request = Canary(function_name="echo", version=BAD, config=canary, force=True)
        asked = pb.DeployRequest(request_json=encode(request).decode())
        begun = await self._controller.Deploy(asked, metadata=self._shown, timeout=LIMIT)
        async with asyncio.timeout(LIMIT):
            await self._weight(lambda weight: weight == SHARE)
            await self._weight(lambda weight: weight == 0)
            written = time.time()
            deployment = await self._ended(begun.id)
        if deployment.status is not Status.ROLLED_BACK:
            raise RuntimeError(f"deployment {deployment.id}: {deployment.status}: {deployment.reason}")
        return told(seen.come, deployment.verdicts[-1], written=written)

    async def _weight(self, holds: Callable[[int], bool]) -> None:
        """Returns when the weight of the bad version is such."""
        await self._aliases.until(lambda them: any(holds(it.value.weights.get(BAD, 0)) for it in them) or None)

    async def _ended(self, name: str) -> Deployment:
        def found(them: Mirror[Deployment]) -> Deployment | None:
            return next((it.value for it in them if it.value.id == name and it.value.status.terminal), None)

        return await self._deployments.until(found)


async def measure(runs: int) -> list[Run]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = await stack.enter_async_context(staged(folder))
        await stage.publish(write_function(stage.folder / "good", ECHO, label="good"))
        await stage.publish(write_function(stage.folder / "bad", FAILING))
        await stage.all_at_once("echo", GOOD)
        connection = etcd.connect(stage.platform.etcd)
        stack.push_async_callback(connection.close)
        store = Store(connection)
        aliases = await stack.enter_async_context(mirrored(store.aliases))
        deployments = await stack.enter_async_context(mirrored(store.deployments))
        channel = await stack.enter_async_context(wire.channel(stage.platform.controller))
        scene, seen = Scene(stage, ControllerStub(channel), aliases, deployments), Answers()
        async with steady_load(stage.url("echo"), rate=RATE, seen=seen):
            return [await scene.run(seen) for _ in range(runs)]


def report(runs: list[Run]) -> dict[str, Any]:
    totals = [one.total for one in runs]
    return {
        "runs": len(runs),
        "totalMs": spread(totals),
        "partsMs": {name: spread([one.parts[place] for one in runs]) for place, name in enumerate(PARTS)},
        **{name: counts([getattr(one, name) for one in runs]) for name in ("invocations", "errors", "failed")},
    }


def spread(seconds: list[float]) -> dict[str, int]:
    return counts([second * 1000 for second in seconds])


def counts(numbers: list[float]) -> dict[str, int]:
    """With some twenty of them a p99 would be the greatest."""
    ninth = statistics.quantiles(numbers, n=10, method="inclusive")[8] if len(numbers) > 1 else numbers[0]
    return {
        name: round(it) for name, it in (("p50", statistics.median(numbers)), ("p90", ninth), ("max", max(numbers)))
    }


def tell(result: dict[str, Any]) -> None:
    def line(title: str, told: dict[str, int]) -> None:
        print(f"  {title:34}" + "  ".join(f"{key} {value}" for key, value in told.items()))

    print(f"{result['runs']} canaries at {SHARE} % of {RATE:g} invocations/s, of a version that fails half of the time")
    line("first error to last answer, ms", result["totalMs"])
    for name in PARTS:
        line(f"  {name}", result["partsMs"][name])
    line("errors that the verdict rests on", result["errors"])
    line("  of invocations", result["invocations"])
    line("failed in all", result["failed"])


def main() -> int:
    parser = argparse.ArgumentParser(description="How soon a bad version is taken back.")
    parser.add_argument("--quick", action="store_true", help="5 runs instead of 20")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    result = report(uvloop.run(measure(5 if options.quick else 20)))
    tell(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0 if result["totalMs"]["p50"] <= TO_REACH * 1000 else 1


if __name__ == "__main__":
    sys.exit(main())
