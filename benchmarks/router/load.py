"""wrk: what it is told to send, and what it tells."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.router.case import Case
from benchmarks.router.process import Unusable, said, spawn, stop
from benchmarks.router.programs import find
from hotswap.processes import ended

PATIENCE = "10s"
"""What takes longer is a time-out."""
LONGEST = 120
"""Seconds after which it stops without being told to."""
TOLD_LIMIT = 30.0
"""Seconds from the signal to its report."""
ROUNDING = 0.5
"""wrk takes whole milliseconds."""
ANEW = """
local head, number = nil, os.time() * 1000000
function init() head = wrk.format() end
function request()
  number = number + 1
  return string.format(head, number, number)
end
"""
DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"p50": %.0f, "p99": %.0f, ', latency:percentile(50), latency:percentile(99)))
  io.write(string.format('"connect": %d, "read": %d, "write": %d, ', e.connect, e.read, e.write))
  io.write(string.format('"status": %d, "timeout": %d}\\n', e.status, e.timeout))
end
"""


@dataclass(frozen=True)
class Report:
    p50_ms: float
    p99_ms: float
    kinds: Mapping[str, int]
    """Errors by kind: connections refused or broken, answers of 400 and more, time-outs."""

    @property
    def errors(self) -> int:
        return sum(self.kinds.values())


NOTHING = Report(0.0, 0.0, {})


@dataclass
class Load:
    """`report` is there when the load has ended."""

    process: "subprocess.Popen[bytes]"
    report: Report = NOTHING

    @property
    def running(self) -> bool:
        return self.process.poll() is None


@asynccontextmanager
async def loading(case: Case, url: str, folder: Path) -> AsyncIterator[Load]:
    """As many requests as can be had on these connections, as long as the context lasts."""
    load = Load(_spawn(case, url, folder))
    try:
        yield load
        load.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(TOLD_LIMIT):
            await ended(load.process)
        load.report = parse(said(folder))
    finally:
        await stop(load.process)


def _spawn(case: Case, url: str, folder: Path) -> "subprocess.Popen[bytes]":
    wrk = find("wrk")
    if wrk is None:
        raise Unusable("the load is made by wrk, which is not installed")
    (folder / "load.lua").write_text(lua(case))
    options = ["-t", "1", "-c", str(case.connections), "-d", str(LONGEST), "--timeout", PATIENCE, "-s", "load.lua"]
    return spawn([wrk, *options, url], folder)


def lua(case: Case) -> str:
    lines = [f'wrk.method = "{case.method}"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in case.fields.items()]
    if case.body:
        lines.append(f'wrk.body = string.rep("x", {case.body})')
    return "\n".join(lines) + (ANEW if case.changing else "") + delay(case) + DONE


def delay(case: Case) -> str:
    """Between an answer and the next request of a connection, by chance, so that the connections do not keep step."""
    if case.rate is None:
        return ""
    mean_ms = case.connections / case.rate * 1000
    return f"\nfunction delay() return math.random() * {2 * mean_ms:.2f} + {ROUNDING} end"


def parse(text: str) -> Report:
    """The last line of its output is ours; raises `ValueError` without it."""
    last = text.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise ValueError(f"wrk ended without a report: {text[-300:]}")
    told = json.loads(last)
    return Report(told.pop("p50") / 1000, told.pop("p99") / 1000, told)
