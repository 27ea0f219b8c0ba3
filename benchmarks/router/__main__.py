"""What a request costs: processor time per request, ours against HAProxy, nginx, Envoy, Traefik and plain aiohttp.

Each proxy has one worker, pinned to one core; the load (wrk), the backends (nginx) and etcd share the other one. The
rounds are interleaved: each proxy has its round of a case before any has the next. All do the same work: see
`configs.py`. In the middle of a load, after its warm-up, two looks are taken at what the proxy's processes have used of
the processor and at how many requests the backends have had; what is told is the difference of the two. Before that
the backends' counts must show that the split holds.

Exit code 1 if ours had errors or its shares were off. A proxy that cannot be had is left out and named; without wrk and
nginx there is nothing to measure with.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import uvloop

from benchmarks.router import measure, table
from benchmarks.router.backend import backends
from benchmarks.router.case import CASES, SATURATED, Case
from benchmarks.router.configs import Routes
from benchmarks.router.figures import Round, faults, medians
from benchmarks.router.measure import Bench, Pace
from benchmarks.router.process import Cores, Unusable, choose_cores, raise_file_limit
from benchmarks.router.programs import find
from benchmarks.router.proxies import OURS, QUICK, STARTS, Proxy
from benchmarks.router.streams import sources

FILES_PER_CONNECTION = 2
"""A proxy has one on either side."""
FILES_BESIDES = 512

NEEDED = ("wrk", "nginx")
UNAVAILABLE = 69
"""The exit code without one of these."""
INTERRUPTED = 130
"""The exit code after Ctrl-C or SIGTERM, when all that was started has ended."""

Rounds = dict[str, dict[str, list[Round]]]
"""By case, by proxy."""


async def run(cases: Sequence[Case], names: Sequence[str], pace: Pace, cores: Cores) -> Rounds:
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            events = await stack.enter_async_context(sources())
            made = await stack.enter_async_context(backends(Path(folder)))
            bench = Bench(Path(folder), made, events, pace)
            routes = Routes([it.port for it in made], events.ports)
            proxies = await start(stack, names, routes, Path(folder), cores)
            rounds: Rounds = {}
            for case in cases:
                rated = with_rate(case, rounds.get(SATURATED, {}))
                if rated is not None:
                    rounds[case.name] = await case_rounds(bench, rated, proxies)
            return rounds


async def interruptible(work: Awaitable[Rounds]) -> Rounds:
    """By SIGTERM as by Ctrl-C: what was started has sessions of its own and would stay."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


async def start(
    stack: AsyncExitStack, names: Sequence[str], routes: Routes, folder: Path, cores: Cores
) -> dict[str, Proxy]:
    proxies = {}
    for name in names:
        (folder / name).mkdir()
        try:
            proxies[name] = await stack.enter_async_context(STARTS[name](folder / name, routes))
            if cores.proxy is not None:
                proxies[name].tree.pin(cores.proxy)
        except Unusable as error:
            print(f"{name} is left out: {error}")
    return proxies


async def case_rounds(bench: Bench, case: Case, proxies: dict[str, Proxy]) -> dict[str, list[Round]]:
    """Prints the case when it is done. A proxy that fails in a round has none of that case."""
    rounds: dict[str, list[Round]] = {name: [] for name in proxies}
    failed = {}
    for _ in range(bench.pace.rounds):
        for name in [it for it in rounds if it not in failed]:
            try:
                rounds[name].append(await bench.round(case, proxies[name]))
            except (Unusable, ValueError, OSError, TimeoutError, psutil.Error) as error:
                failed[name] = f"{type(error).__name__}: {error}"
    whole = {name: its for name, its in rounds.items() if name not in failed}
    print("\n".join(table.lines(case, whole, failed)), flush=True)
    return whole


def with_rate(case: Case, saturated: Mapping[str, Sequence[Round]]) -> Case | None:
    """The same rate for all proxies, so that their latencies can be compared; `None` if there is nothing to halve."""
    if not case.half:
        return case
    full = [medians(saturated[name]).rps for name in (OURS, "haproxy") if name in saturated]
    if not full:
        print(f'{case.name} is left out: it takes half of what the case "{SATURATED}" shows')
        return None
    rate = min(full) / 2
    return replace(case, rate=rate, title=f"{case.title} ({rate:,.0f} a second)")


def fitting(cases: Sequence[Case], files: int) -> list[Case]:
    """Those that so many open files suffice for."""
    fit = [case for case in cases if case.connections * FILES_PER_CONNECTION + FILES_BESIDES <= files]
    for case in cases:
        if case not in fit:
            print(f"{case.name} is left out: {files} open files are too few (ulimit -n)")
    return fit


def report(rounds: Rounds) -> dict[str, dict[str, dict[str, float]]]:
    return {case: {name: asdict(medians(its)) for name, its in rows.items()} for case, rows in rounds.items()}


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a request costs in the router and in other proxies.")
    parser.add_argument("--quick", action="store_true", help=f"one short round of {', '.join(QUICK)}")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES], metavar="CASE")
    parser.add_argument("--proxies", nargs="+", choices=list(STARTS), metavar="PROXY")
    parser.add_argument("--rounds", type=int, metavar="N")
    return parser.parse_args(arguments)


def main() -> int:
    told = options(sys.argv[1:])
    if missing := [name for name in NEEDED if find(name) is None]:
        print(f"not installed: {' and '.join(missing)}; wrk makes the load, nginx is the backends", file=sys.stderr)
        return UNAVAILABLE
    pace = measure.QUICK if told.quick else measure.FULL
    pace = replace(pace, rounds=told.rounds or pace.rounds)
    cores = choose_cores()
    if cores.load is None:
        print("one core only: nothing is pinned, and the load takes its part of it")
    else:
        os.sched_setaffinity(0, {cores.load})
    cases = fitting([it for it in CASES if not told.cases or it.name in told.cases], raise_file_limit())
    names = told.proxies or (QUICK if told.quick else tuple(STARTS))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rounds = runner.run(interruptible(run(cases, names, pace, cores)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    if (beside := table.parents(rounds)) is not None:
        print(beside)
    if told.json:
        told.json.write_text(json.dumps(report(rounds), indent=2))
    return 1 if any(faults(rows[OURS]) for rows in rounds.values() if OURS in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
