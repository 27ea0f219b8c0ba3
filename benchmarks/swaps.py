"""Swaps under load: not one invocation may fail, and the shares must be the weights.

Three scenes on one platform (etcd, controller, router with 2 workers, 4 nodes) under a steady 200 invocations/s:

- *swaps*: the function goes v1 → v2 → v1 … on all four nodes; at each one new instances are started and made ready, the
  alias is shifted, the old instances are withdrawn, drained and stopped;
- *all-at-once*: such a deployment is asked for every second;
- *shares*: the weights are changed again and again while both versions run; afterwards what /metrics counts is compared
  with them. A worker is off by less than one invocation, so the router by less than its workers.

Exit code 1 if anything failed or the shares are off.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from hotswap.deployment import Status
from hotswap.metrics import OUTCOMES
from hotswap.model import encode
from hotswap.requests import AllAtOnce
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from hotswap.rpc.callers import credentials
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from tests.conditions import eventually
from tests.functions import ECHO, write_function
from tests.load import Seen, steady_load
from tests.stage import Stage, staged

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub

RATE = 200.0
WORKERS = 2
LIMIT = 60.0
"""Seconds for one deployment."""
NODES = 4
ALIAS = "shares"
WEIGHTS = ({1: 90, 2: 10}, {1: 50, 2: 50}, {1: 67, 2: 33}, {1: 1, 2: 99}, {1: 100, 2: 0})


@dataclass(frozen=True)
class Scene:
    name: str
    changes: int
    seconds_per_change: float
    """Median, from the request to the end of the deployment."""
    invocations: int
    failed: int
    first_failures: list[str]


def scene(name: str, took: list[float], seen: Seen) -> Scene:
    return Scene(name, len(took), statistics.median(took), seen.sent, len(seen.failures), seen.failures[:5])


async def swaps(stage: Stage, controller: "ControllerAsyncStub", count: int) -> Scene:
    took = []
    async with steady_load(stage.url("echo"), rate=RATE) as seen:
        for number in range(count):
            took.append(await timed_swap(stage, controller, 2 - number % 2))
    return scene("swaps", took, seen)


async def every_second(stage: Stage, controller: "ControllerAsyncStub", seconds: int) -> Scene:
    """One after the other where a deployment takes longer than its second."""
    took = []
    clock = asyncio.get_running_loop().time
    start = clock()
    async with steady_load(stage.url("echo"), rate=RATE) as seen:
        number = 0
        while clock() - start < seconds:
            took.append(await timed_swap(stage, controller, 2 - number % 2))
            number += 1
            await asyncio.sleep(max(0.0, start + number - clock()))
    return scene("all-at-once", took, seen)


async def timed_swap(stage: Stage, controller: "ControllerAsyncStub", version: int) -> float:
    """An All-At-Once, from its request to its end; raises unless it succeeds."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    request = encode(AllAtOnce(function_name="echo", version=version)).decode()
    shown = credentials(stage.platform.token)
    deployment = await controller.Deploy(pb.DeployRequest(request_json=request), timeout=LIMIT, metadata=shown)
    watch = pb.WatchDeploymentRequest(id=deployment.id)
    async for update in controller.WatchDeployment(watch, timeout=LIMIT, metadata=shown):
        deployment = update.deployment
    if deployment.status != Status.SUCCEEDED:
        raise RuntimeError(f"deployment {deployment.id}: {deployment.status}: {deployment.reason}")
    return clock() - begun


async def shares(stage: Stage, rounds: int) -> dict[str, Any]:
    """How far what /metrics counts is from what the weights say, over all the weights that held, by version."""
    held: dict[int, dict[int, int]] = {}
    picks: dict[int, int] = {}
    held |= await set_weights(stage, WEIGHTS[0])
    async with steady_load(stage.url(f"echo:{ALIAS}"), rate=RATE) as seen:
        for number in range(1, rounds):
            held |= await set_weights(stage, WEIGHTS[number % len(WEIGHTS)])
            await eventually(partial(_more_than, seen, seen.answered + RATE))
            picks |= await picks_by_revision(stage)  # each revision again and again, until it is an old one
    picks |= await picks_by_revision(stage)
    due: Counter[int] = Counter()
    for revision, weights in held.items():
        for version, weight in weights.items():
            due[version] += picks.get(revision, 0) * weight
    counted = await counted_in_metrics(stage)
    off = {str(version): abs(counted[version] - due[version] / 100) for version in sorted(due)}
    return {"weights": rounds, "invocations": seen.sent, "failed": len(seen.failures), "off": off}


async def set_weights(stage: Stage, weights: dict[int, int]) -> dict[int, dict[int, int]]:
    """The weights by the revision from which on they hold."""
    spec = ",".join(f"{version}={weight}" for version, weight in weights.items())
    answer = await stage.hotswap("alias", "set", f"echo:{ALIAS}", spec, "-o", "json")
    return {int(answer.json["revision"]): weights}


def _more_than(seen: Seen, answered: float) -> bool:
    return seen.answered > answered


async def picks_by_revision(stage: Stage) -> dict[int, int]:
    """Invocations under each of the weights that the router still counts by themselves."""
    picks: Counter[int] = Counter()
    for row in json.loads(await admin(stage, "/counters?function=echo"))["rows"]:
        if row["alias"] == ALIAS:
            picks[row["aliasRevision"]] += sum(row["tally"]["counts"][: len(OUTCOMES)])
    return dict(picks)


async def counted_in_metrics(stage: Stage) -> Counter[int]:
    """Invocations by version, as Prometheus would read them."""
    counted: Counter[int] = Counter()
    for family in text_string_to_metric_families(await admin(stage, "/metrics")):
        for sample in family.samples:
            if sample.name == "hotswap_invocations_total" and sample.labels["alias"] == ALIAS:
                counted[int(sample.labels["version"])] += int(sample.value)
    return counted


async def admin(stage: Stage, path: str) -> str:
    url = f"http://{stage.platform.admin}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def run(*, count: int, seconds: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with staged(Path(folder), agents=NODES, workers=WORKERS) as stage:
            for label in ("one", "two"):
                await stage.publish(write_function(stage.folder / label, ECHO, label=label))
            await stage.all_at_once("echo", 1)
            async with wire.channel(stage.platform.controller) as channel:
                controller = ControllerStub(channel)
                results = [await swaps(stage, controller, count), await every_second(stage, controller, seconds)]
            return {**{one.name: asdict(one) for one in results}, "shares": await shares(stage, rounds)}


def good(result: dict[str, Any]) -> bool:
    return all(not part["failed"] for part in result.values()) and all(
        off < WORKERS for off in result["shares"]["off"].values()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Swaps under load: nothing may fail.")
    parser.add_argument("--quick", action="store_true", help="end within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    size = {"count": 6, "seconds": 8, "rounds": 5} if options.quick else {"count": 100, "seconds": 60, "rounds": 50}
    result = asyncio.run(run(**size))
    for name, part in result.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in part.items() if key != "name"))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0 if good(result) else 1


if __name__ == "__main__":
    sys.exit(main())
