"""The router's benchmark, for a moment: what it measures is not judged here, only that it measures."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.router import programs
from benchmarks.router.__main__ import report, run
from benchmarks.router.backend import off_balance
from benchmarks.router.case import CASES
from benchmarks.router.measure import Pace
from benchmarks.router.process import Cores, Unusable, free_ports, serving

SHORT = Pace(rounds=1, warm_up=0.1, window=0.3)
UNPINNED = Cores(None, None)
KINDS = {"get", "changing", "post", "stream-1m", "events-1000"}
FEW = [replace(case, connections=8) for case in CASES if case.name in KINDS]

needs_nginx_and_wrk = pytest.mark.skipif(
    programs.find("nginx") is None or programs.find("wrk") is None, reason="nginx and wrk are not installed"
)


@needs_nginx_and_wrk
async def test_every_kind_of_case_is_measured_and_nothing_is_left_running() -> None:
    async with asyncio.timeout(120):
        rounds = await run(FEW, ["hotswap", "nginx"], SHORT, UNPINNED)
    figures = report(rounds)
    assert list(figures) == [case.name for case in FEW]
    for rows in figures.values():
        assert list(rows) == ["hotswap", "nginx"]
        for row in rows.values():
            assert row["rps"] > 0
            assert row["rss_mib"] > 1
    assert all(
        off_balance(it.shared, waiting=it.waiting) is None for it in rounds["get"]["hotswap"] + rounds["get"]["nginx"]
    )
    assert [child.name() for child in psutil.Process(os.getpid()).children() if child.name() in {"nginx", "wrk"}] == []


async def test_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", "raise SystemExit('there is no configuration')"]
    with pytest.raises(Unusable, match="ended with status 1: there is no configuration"):
        async with serving(command, tmp_path, port, ready="/"):
            raise AssertionError("it serves nothing")
