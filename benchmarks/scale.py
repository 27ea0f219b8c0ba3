"""What a router with 10,000 functions and 100,000 endpoints costs: its boot, its memory, its changes, its balance.

Every function has two versions with five endpoints each, and an alias of 90 and 10; all of it stands in a real etcd.
The router has four workers. Measured one after the other:

- *boot*: from the start of the process until every worker takes requests: from the store, with an empty folder; with
  the table on its disk; and from the disk alone, with etcd away.
- *memory* of the parent and of each worker; pages that processes share are told by their share (PSS). Also of a single
  worker that has had an invocation of each function.
- *one change* at a time: from etcd's answer to the writer until the router has said that every worker has it, and what
  that takes of the CPU. The question and its answer are in it.
- *changes at a rate*, of one function after the other, each in a transaction of its own. Whether all workers have them
  is asked without a pause, so what is told is late by one question at most.
- *balance* of connections between the workers, as `scripts/bench balance` has it.
"""

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop

from benchmarks.balance import allow_files, balance
from benchmarks.propagation import Function, quantiles
from hotswap import etcd
from hotswap.etcd.local import running
from hotswap.kv import MAX_OPERATIONS
from hotswap.model import Alias, Endpoint, Kind, Manifest, Record, Version
from hotswap.routers import Subject
from hotswap.settings import EtcdSettings
from hotswap.store import Store
from tests.router_harness import start_router

WORKERS = 4
VERSIONS = (1, 2)
INSTANCES = 5
"""Endpoints of each version."""
WRITERS = 16
"""Transactions at a time that fill the store."""
SINGLE_CHANGES = 100
CHANGES_AT_ONCE = 64
"""Transactions that may be under way when changes come at a rate."""
BOOT_LIMIT = 120.0
APPLIED_LIMIT = 30.0
ASK_EVERY = 0.03
NOWHERE = EtcdSettings(endpoints=("127.0.0.1:1",))
MIB = 1_048_576
KINDS: dict[Subject, type[Alias] | type[Endpoint]] = {"aliases": Alias, "endpoints": Endpoint}


@dataclass(frozen=True)
class Size:
    functions: int
    changes_per_second: int
    seconds: float
    """For which changes come at that rate."""
    connections: Sequence[int]
    rounds: int
    """Of opening so many connections."""


FULL = Size(functions=10_000, changes_per_second=1_000, seconds=20.0, connections=(64, 1_024), rounds=10)
QUICK = Size(functions=1_000, changes_per_second=1_000, seconds=5.0, connections=(64, 1_024), rounds=3)


def name_of(number: int) -> str:
    return f"function-{number}"


def records(functions: int, address: str) -> Iterator[Record]:
    published = datetime.now(UTC)
    for function in map(name_of, range(functions)):
        manifest = Manifest(function=function, kind=Kind.HTTP, entrypoint=["./run"])
        for number in VERSIONS:
            yield Version(
                function=function, number=number, artifact="0" * 64, size=1, manifest=manifest, published=published
            )
            for instance in range(INSTANCES):
                yield Endpoint(
                    function=function,
                    version=number,
                    instance=f"node-{instance}-{number}-1f2e3d4c",
                    node=f"node-{instance}",
                    address=address,
                    concurrency=16,
                )
        yield alias(function, 10)


def alias(function: str, share: int) -> Alias:
    return Alias(function=function, name="production", weights={1: 100 - share, 2: share}, last_good=1)


async def fill(store: Store, values: Iterator[Record]) -> None:
    """`values` is shared by the writers: each takes the next ones."""

    async def write() -> None:
        while some := [value for _, value in zip(range(MAX_OPERATIONS), values, strict=False)]:
            transaction = store.transaction()
            for value in some:
                transaction.create(value)
            await transaction.commit()

    await asyncio.gather(*(write() for _ in range(WRITERS)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """A router that takes requests."""

    process: asyncio.subprocess.Process
    port: int
    admin: str
    session: aiohttp.ClientSession
    boot_seconds: float = 0.0
    boot_cpu: dict[str, float] = field(default_factory=dict)
    """Seconds of the parent, and of a worker."""

    @property
    def parent(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    @property
    def workers(self) -> list[psutil.Process]:
        return self.parent.children()

    async def ready(self) -> bool:
        try:
            async with self.session.get(f"http://{self.admin}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def applied(self, revision: int, *, subject: Subject = "aliases") -> int:
        """The revision of the subject that every worker has, as soon as it is this one at least."""
        url = f"http://{self.admin}/applied?subject={subject}&revision={revision}&wait={APPLIED_LIMIT}"
        async with self.session.get(url) as answer:
            told = await answer.json()
            return int(told[subject])

    async def settled(self, store: Store) -> None:
        """Returns when it has read all that the store has, which it does behind a table from its disk."""
        subjects: tuple[Subject, ...] = ("aliases", "endpoints")
        for subject in subjects:
            last = max(stored.mod_revision for stored in await store.collection(KINDS[subject]).list())
            await self.applied(last, subject=subject)


@asynccontextmanager
async def booted(settings: EtcdSettings, folder: Path, *, workers: int = WORKERS) -> AsyncIterator[Running]:
    admin, port = f"127.0.0.1:{free_port()}", free_port()
    begun = time.perf_counter()
    process = await start_router(
        settings, folder, workers=workers, drain=timedelta(seconds=1), bind=f"127.0.0.1:{port}", admin=admin
    )
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(BOOT_LIMIT):
            router = Running(process, port, admin, session)
            while not await router.ready():  # noqa: ASYNC110 - it tells when asked
                await asyncio.sleep(ASK_EVERY)
            router.boot_seconds = time.perf_counter() - begun
            router.boot_cpu = {
                "parent": cpu_seconds(router.parent),
                "worker": statistics.mean(map(cpu_seconds, router.workers)),
            }
        async with aiohttp.ClientSession() as router.session:
            yield router
    finally:
        process.terminate()
        await process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def memory(router: Running) -> dict[str, float]:
    """MiB; of the workers the largest."""
    workers = [worker.memory_full_info() for worker in router.workers]
    parent = router.parent.memory_full_info()
    return {
        "parentPssMib": parent.pss / MIB,
        "parentRssMib": parent.rss / MIB,
        "workerPssMib": max(it.pss for it in workers) / MIB,
        "workerRssMib": max(it.rss for it in workers) / MIB,
    }


async def in_use(router: Running, functions: int) -> dict[str, float]:
    """Memory when each function has been invoked."""
    names = iter(range(functions))

    async def invoke() -> None:
        for number in names:
            async with router.session.get(f"http://127.0.0.1:{router.port}/fn/{name_of(number)}/") as answer:
                assert answer.status == 200, await answer.text()

    await asyncio.gather(*(invoke() for _ in range(WRITERS)))
    return memory(router)


@dataclass
class Cost:
    """CPU seconds of a router's processes from one moment to another."""

    router: Running
    parent: float = 0.0
    workers: float = 0.0
    _begun: list[float] = field(default_factory=list)

    def __enter__(self) -> "Cost":
        self._begun = self._used()
        return self

    def __exit__(self, *_: object) -> None:
        self.parent, *each = (now - then for now, then in zip(self._used(), self._begun, strict=True))
        self.workers = statistics.mean(each)

    def _used(self) -> list[float]:
        processes = [self.router.parent, *sorted(self.router.workers, key=lambda it: it.pid)]
        return [cpu_seconds(process) for process in processes]


async def one_at_a_time(router: Running, store: Store, functions: int) -> dict[str, Any]:
    seconds = []
    with Cost(router) as cost:
        for number in range(SINGLE_CHANGES):
            changed = alias(name_of(number * 37 % functions), 20 + number % 60)
            revision = await store.transaction().announce(changed, lease=0).commit()
            answered = time.perf_counter()
            await router.applied(revision)
            seconds.append(time.perf_counter() - answered)
    return {
        "appliedMs": quantiles(seconds),
        "parentCpuMs": cost.parent / SINGLE_CHANGES * 1000,
        "workerCpuMs": cost.workers / SINGLE_CHANGES * 1000,
    }


@dataclass
class Lags:
    """Of each change: the seconds from its answer until it was known that every worker has it."""

    applied: int = 0
    lags: list[float] = field(default_factory=list)
    _waiting: list[tuple[int, float]] = field(default_factory=list)

    def written(self, revision: int) -> None:
        if revision <= self.applied:
            self.lags.append(0.0)
        else:
            self._waiting.append((revision, time.perf_counter()))

    async def follow(self, router: Running, changes: int) -> None:
        while len(self.lags) < changes:
            self.applied = await router.applied(self.applied + 1)
            now = time.perf_counter()
            self.lags += [now - at for revision, at in self._waiting if revision <= self.applied]
            self._waiting = [(revision, at) for revision, at in self._waiting if revision > self.applied]


async def at_a_rate(router: Running, store: Store, size: Size) -> dict[str, Any]:
    lags = Lags()
    total = int(size.changes_per_second * size.seconds)
    gate = asyncio.Semaphore(CHANGES_AT_ONCE)

    async def write(number: int) -> None:
        async with gate:
            changed = alias(name_of(number % size.functions), 1 + number % 97)
            lags.written(await store.transaction().announce(changed, lease=0).commit())

    begun = time.perf_counter()
    with Cost(router) as cost:
        async with asyncio.TaskGroup() as tasks:
            following = asyncio.timeout(size.seconds + APPLIED_LIMIT)
            tasks.create_task(_within(following, lags.follow(router, total)))
            for number in range(total):
                await asyncio.sleep(begun + number / size.changes_per_second - time.perf_counter())
                tasks.create_task(write(number))
    lasted = time.perf_counter() - begun
    return {
        "changesPerSecond": total / lasted,
        "appliedMs": quantiles(lags.lags),
        "parentCpuPercent": cost.parent / lasted * 100,
        "workerCpuPercent": cost.workers / lasted * 100,
    }


async def _within(limit: asyncio.Timeout, what: Coroutine[Any, Any, None]) -> None:
    async with limit:
        await what


async def run(size: Size) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    function = await loop.create_server(Function, "127.0.0.1", 0)
    address = "{}:{}".format(*function.sockets[0].getsockname())
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder) / "etcd") as server:
            settings = EtcdSettings(endpoints=(server.endpoint,))
            store = Store(etcd.connect(settings))
            begun = time.perf_counter()
            await fill(store, records(size.functions, address))
            result: dict[str, Any] = {
                "functions": size.functions,
                "endpoints": size.functions * len(VERSIONS) * INSTANCES,
                "workers": WORKERS,
                "fillSeconds": time.perf_counter() - begun,
            }
            result |= await measure(settings, store, Path(folder) / "router", size)
            await store.kv.close()
    function.close()
    return result


async def measure(settings: EtcdSettings, store: Store, folder: Path, size: Size) -> dict[str, Any]:
    boots: dict[str, Running] = {}
    async with booted(settings, folder) as router:
        boots["store"] = router
        await saved(folder)
    async with booted(NOWHERE, folder) as router:
        boots["diskAlone"] = router
    async with booted(settings, folder, workers=1) as router:
        used = await in_use(router, size.functions)
    async with booted(settings, folder) as router:
        boots["disk"] = router
        await router.settled(store)
        return {
            "memoryInUse": used,
            "bootSeconds": {name: it.boot_seconds for name, it in boots.items()},
            "bootCpuSeconds": {name: it.boot_cpu for name, it in boots.items()},
            "memory": memory(router),
            "one": await one_at_a_time(router, store, size.functions),
            "atRate": await at_a_rate(router, store, size),
            "memoryAfterChanges": memory(router),
            "balance": {
                count: await balance(router.port, router.workers, name_of(0), connections=count, rounds=size.rounds)
                for count in size.connections
            },
        }


async def saved(folder: Path) -> None:
    async with asyncio.timeout(BOOT_LIMIT):
        while not (folder / "table").exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(ASK_EVERY)


def tell(result: dict[str, Any]) -> None:
    print(
        f"{result['functions']} functions, {result['endpoints']} endpoints, {result['workers']} workers;"
        f" written to etcd in {result['fillSeconds']:.1f} s"
    )
    for key, title in (("store", "from the store"), ("disk", "with the table on disk"), ("diskAlone", "without etcd")):
        seconds, cpu = result["bootSeconds"][key], result["bootCpuSeconds"][key]
        print(f"boot {title}: {seconds:.2f} s; CPU {cpu['parent']:.2f} s of the parent, {cpu['worker']:.2f} s a worker")
    states = (("memory", "memory"), ("memoryAfterChanges", "after the changes"), ("memoryInUse", "all invoked, by one"))
    for key, title in states:
        told = result[key]
        print(
            f"{title}, MiB: a worker PSS {told['workerPssMib']:.1f} RSS {told['workerRssMib']:.1f},"
            f" the parent PSS {told['parentPssMib']:.1f} RSS {told['parentRssMib']:.1f}"
        )
    one, rate = result["one"], result["atRate"]
    print(
        f"one change, applied after, ms: {spelt(one['appliedMs'])};"
        f" CPU {one['parentCpuMs']:.2f} ms of the parent, {one['workerCpuMs']:.2f} ms of a worker"
    )
    print(
        f"{rate['changesPerSecond']:.0f} changes/s, applied after, ms: {spelt(rate['appliedMs'])};"
        f" CPU {rate['parentCpuPercent']:.0f} % of a core for the parent, {rate['workerCpuPercent']:.0f} % a worker"
    )
    for count, told in result["balance"].items():
        print(
            f"{count} connections: the busiest worker has {told['mean']:.2f} times the mean,"
            f" {told['worst']:.2f} at worst"
        )


def spelt(figures: dict[str, float]) -> str:
    return "  ".join(f"{key} {value:g}" for key, value in figures.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="1,000 functions with 10,000 endpoints")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    allow_files(2 * max(FULL.connections))
    result = uvloop.run(run(QUICK if options.quick else FULL))
    tell(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
