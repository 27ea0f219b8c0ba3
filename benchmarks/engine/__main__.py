"""How late a controller on one core decides, with many deployments at once.

A real etcd and a real controller process, which is held to one core. One process on another core plays what surrounds
it, on real sockets: a node whose agent has everything ready at once, a router that has and counts everything, and the
people who deploy. Every function gets a canary of six phases, all begun within the time of one. Told by the records:

- *decided*: from the end of a phase, as it was due, to the controller's decision about it;
- *turned*: from there to the time when every router was seen to have the next weights, so with all writes and answers
  of etcd and the router in it.

A phase is timed from when its own weights were seen, so one that begins late makes none after it look late.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import psutil
import uvloop

from benchmarks.engine.played import surroundings
from benchmarks.propagation import quantiles
from hotswap import etcd
from hotswap.deployment import Bake, Deployment, Shift, Status
from hotswap.etcd.local import running
from hotswap.mirror import mirrored
from hotswap.model import Alias, Function, Kind, Manifest, Version, encode
from hotswap.requests import Canary, CanaryConfig
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from hotswap.settings import EtcdSettings
from hotswap.store import Store, Stored

PHASES = [5, 10, 25, 50, 75, 100]
AT_ONCE = 16
"""People who deploy at the same time."""
LATE = 1.0
"""Seconds after which a decision should have been made."""
LIMIT = 600.0
"""Seconds for the whole."""


def now() -> datetime:
    return datetime.now(UTC)


def name_of(number: int) -> str:
    return f"function-{number}"


async def publish(store: Store, functions: int) -> None:
    """Two versions of each function; the first has the traffic."""
    for number in range(functions):
        name = name_of(number)
        manifest = Manifest(function=name, kind=Kind.HANDLER, entrypoint="app:handler")
        transaction = store.transaction().create(Function(name=name, created=now(), last_version=2))
        transaction.create(Alias(function=name, name="production", weights={1: 100}, last_good=1))
        for version in (1, 2):
            transaction.create(
                Version(function=name, number=version, artifact="0" * 64, size=1, manifest=manifest, published=now())
            )
        await transaction.commit()


@asynccontextmanager
async def controlling(
    settings: EtcdSettings, folder: Path, store: Store, core: int
) -> AsyncIterator[tuple[psutil.Process, str]]:
    """A controller held to one core, and its address."""
    command = ("-m", "hotswap", "controller", "--name", "c1", "--bind", "127.0.0.1:0", "--rest", "127.0.0.1:0")
    where = ("--artifacts", str(folder / "artifacts"), "--etcd", settings.endpoints[0])
    log = (folder / "controller.log").open("wb")
    process = await asyncio.create_subprocess_exec(sys.executable, *command, *where, stdout=log, stderr=log)
    try:
        os.sched_setaffinity(process.pid, {core})
        async with mirrored(store.leader) as leaders:
            leader = await leaders.until(lambda it: next(iter(it), None))
        yield psutil.Process(process.pid), leader.value.address
    finally:
        log.close()
        if process.returncode is not None:
            print((folder / "controller.log").read_text()[-3000:], file=sys.stderr)
            raise RuntimeError(f"the controller has ended by itself, with {process.returncode}")
        process.terminate()
        await process.wait()


async def deploy(address: str, functions: int, spread: float, duration: timedelta) -> None:
    """A canary of each function, begun evenly over the time."""
    config = CanaryConfig(canary_increments=PHASES, canary_duration=duration)
    places, begun = asyncio.Semaphore(AT_ONCE), time.monotonic()

    async def one(stub: Any, number: int) -> None:
        await asyncio.sleep(max(0.0, begun + spread * number / functions - time.monotonic()))
        request = Canary(function_name=name_of(number), version=2, config=config)
        async with places:
            await stub.Deploy(pb.DeployRequest(request_json=encode(request).decode()))

    async with grpc.aio.insecure_channel(address) as channel, asyncio.TaskGroup() as tasks:
        stub = ControllerStub(channel)
        for number in range(functions):
            tasks.create_task(one(stub, number))


@dataclass
class Lateness:
    """In seconds, of the decision at the end of each phase and of what it brings about; told by the records alone."""

    decided: list[float] = field(default_factory=list)
    turned: list[float] = field(default_factory=list)
    known: dict[str, Deployment] = field(default_factory=dict)
    _due: dict[str, datetime] = field(default_factory=dict)
    """When the phase was due to end whose next weights do not show yet."""

    def saw(self, after: Deployment) -> None:
        before = self.known.get(after.id)
        self.known[after.id] = after
        if before is None or not before.steps or after.progress.index == before.progress.index:
            return
        step, progress = before.steps[before.progress.index], before.progress
        if isinstance(step, Bake) and progress.observed:
            due = progress.observed + step.duration
            self.decided.append((after.progress.entered - due).total_seconds())
            self._due[after.id] = due
        elif isinstance(step, Shift) and after.id in self._due:
            self.turned.append((after.progress.entered - self._due.pop(after.id)).total_seconds())

    @property
    def ended(self) -> int:
        return sum(one.status.terminal for one in self.known.values())

    @property
    def succeeded(self) -> int:
        return sum(one.status is Status.SUCCEEDED for one in self.known.values())


async def follow(store: Store, functions: int, lateness: Lateness) -> None:
    async with store.deployments.watch() as batches:
        async for batch in batches:
            for change in batch.changes:
                if isinstance(change, Stored):
                    lateness.saw(change.value)
            if lateness.ended == functions:
                return


@dataclass
class Load:
    """What was used from the beginning on."""

    store: Store
    processes: dict[str, psutil.Process]
    began: float = 0.0
    revision: int = 0
    cpu: dict[str, float] = field(default_factory=dict)

    async def begin(self) -> None:
        self.began, self.revision, self.cpu = time.monotonic(), await self._revision(), self._cpu()

    async def told(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.began
        return {
            "seconds": round(seconds, 1),
            "coreShare": {name: round((used - self.cpu[name]) / seconds, 3) for name, used in self._cpu().items()},
            "writesPerSecond": round((await self._revision() - self.revision) / seconds, 1),
            "memoryMiB": round(self.processes["controller"].memory_info().rss / 2**20, 1),
        }

    async def _revision(self) -> int:
        return (await self.store.kv.range("/none/")).revision

    def _cpu(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self.processes.items()}
        return {name: it.user + it.system for name, it in times.items()}


async def run(functions: int, *, spread: float, duration: timedelta, failing: bool) -> dict[str, Any]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores - {max(cores)} or cores)  # which etcd inherits; the controller has the last one
    lateness = Lateness()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(running(folder / "etcd"))
        settings = EtcdSettings(endpoints=(server.endpoint,))
        connection = etcd.connect(settings)
        stack.push_async_callback(connection.close)
        store = Store(connection)
        await publish(store, functions)
        await stack.enter_async_context(surroundings(store, failing=failing))
        controller, address = await stack.enter_async_context(controlling(settings, folder, store, max(cores)))
        async with asyncio.timeout(LIMIT), mirrored(store.endpoints) as endpoints:
            await endpoints.until(lambda it: len(it) == functions)
        load = Load(store, {"controller": controller, "etcd": psutil.Process(server.pid), "others": psutil.Process()})
        await load.begin()
        async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(store, functions, lateness), name="follow")
            await deploy(address, functions, spread, duration)
        used = await load.told()
    return {
        "deployments": functions,
        "phaseSeconds": duration.total_seconds(),
        "succeeded": lateness.succeeded,
        "decisions": len(lateness.decided),
        "decidedMs": quantiles(lateness.decided),
        "turnedMs": quantiles(lateness.turned),
        "late": sum(one > LATE for one in lateness.decided),
        **used,
    }


def tell(result: dict[str, Any]) -> None:
    print(f"{result['succeeded']} of {result['deployments']} deployments succeeded in {result['seconds']:g} s")
    print(f"  {result['decisions']} decisions at the end of a phase, {result['late']} over {LATE:g} s late")
    for what in ("decided", "turned"):
        told = "  ".join(f"{key} {value:g}" for key, value in result[f"{what}Ms"].items())
        print(f"  {what + ', ms':12} {told}")
    shares = "  ".join(f"{name} {share:.0%}" for name, share in result["coreShare"].items())
    print(f"  of a core    {shares}")
    print(f"  controller   {result['memoryMiB']:g} MiB, {result['writesPerSecond']:g} writes a second")


def main() -> int:
    parser = argparse.ArgumentParser(description="How late a controller decides, with many deployments at once.")
    parser.add_argument("--quick", action="store_true", help="200 deployments with phases of 5 s")
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--phase", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--failing", action="store_true", help="every version has errors all the time, within limits")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    functions, phase = (200, 5.0) if options.quick else (options.deployments, options.phase)
    work = run(functions, spread=phase, duration=timedelta(seconds=phase), failing=options.failing)
    result = uvloop.run(work)
    tell(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0 if result["succeeded"] == functions and not result["late"] else 1


if __name__ == "__main__":
    sys.exit(main())
