"""The router's /metrics: as Prometheus reads it, equal to the router's own counters, and answered by no worker."""

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from hotswap.metrics import Count
from hotswap.settings import EtcdSettings
from tests.router_harness import RouterUnderTest, answering, routing, upstream

START_LIMIT = 60.0
ASK_EVERY = 0.1


def program(name: str) -> str:
    """A program of Prometheus's; the test fails without it, since nothing else says whether it understands us."""
    found = shutil.which(name)
    assert found, f"{name} was not found on PATH: install the package prometheus (scripts/test does where it may)"
    return found


async def invoked(router: RouterUnderTest, address: str) -> None:
    """Traffic of all kinds: two versions, one of which fails, by the alias and by number."""
    await router.publish("fn", {1: [address]}, weights={1: 100}, concurrency=1_000)
    async with upstream(answering(b"no", status="503 Down")) as failing:
        await router.publish("failing", {1: [failing.address]}, weights={1: 100})
        for _ in range(10):
            assert (await router.get("/fn/failing")).status == 503
    for _ in range(20):
        assert (await router.get("/fn/fn")).status == 200
    for _ in range(5):
        assert (await router.get("/fn/fn:1")).status == 200


@asynccontextmanager
async def prometheus(target: str, folder: Path) -> AsyncIterator[str]:
    """A real one that scrapes the target twice a second; its address."""
    config = {
        "global": {"scrape_interval": "500ms"},
        "scrape_configs": [{"job_name": "router", "static_configs": [{"targets": [target]}]}],
    }
    file = folder / "prometheus.json"
    file.write_text(json.dumps(config))  # JSON is YAML
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        yield address
    finally:
        process.terminate()
        await process.wait()


async def told(session: aiohttp.ClientSession, address: str, query: str) -> float | None:
    """What Prometheus answers; `None` while it does not, or knows nothing."""
    try:
        async with session.get(f"http://{address}/api/v1/query", params={"query": query}) as answer:
            found = (await answer.json())["data"]["result"] if answer.status == 200 else []
    except aiohttp.ClientConnectionError:
        return None
    return float(found[0]["value"][1]) if found else None


async def equals(session: aiohttp.ClientSession, address: str, query: str, value: float) -> None:
    """Returns when Prometheus has scraped this value."""
    seen: float | None = None
    try:
        async with asyncio.timeout(START_LIMIT):
            while (seen := await told(session, address, query)) != pytest.approx(value):  # noqa: ASYNC110 - it tells when asked
                await asyncio.sleep(ASK_EVERY)
    except TimeoutError:
        pytest.fail(f"{query} is {seen} to Prometheus, and {value} to the router")


async def test_promtool_accepts_what_a_router_with_traffic_tells(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with routing(etcd, tmp_path, workers=2) as router, upstream(answering()) as server:
        await invoked(router, server.address)
        text = (await router.ask("/metrics")).body
    checked = await asyncio.to_thread(
        subprocess.run, [program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_prometheus_answers_what_the_router_has_counted(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with (
        routing(etcd, tmp_path / "router", workers=2) as router,
        upstream(answering()) as server,
        prometheus(router.known.admin, tmp_path) as address,
        aiohttp.ClientSession() as session,
    ):
        await invoked(router, server.address)
        for function in ("fn", "failing"):
            tally = await router.tally(function)
            assert tally.invocations == {"fn": 25, "failing": 10}[function]
            labels = f'function="{function}"'
            for outcome in (Count.OK, Count.STATUS, Count.TIMEOUT):
                query = f'sum(hotswap_invocations_total{{{labels},outcome="{outcome.name.lower()}"}})'
                await equals(session, address, query, tally[outcome])
            seconds = tally[Count.MICROSECONDS] / 1e6
            await equals(session, address, f"sum(hotswap_invocation_duration_seconds_sum{{{labels}}})", seconds)
            for query in ("count", 'bucket{le="+Inf"}'):
                name, brace, matcher = query.partition("{")
                matchers = f"{labels},{matcher}" if brace else f"{labels}}}"
                query = f"sum(hotswap_invocation_duration_seconds_{name}{{{matchers})"
                await equals(session, address, query, tally.invocations)
        await equals(session, address, "hotswap_router_worker_restarts_total", 0)


async def test_no_worker_has_a_part_in_a_scrape_of_ten_thousand_functions(etcd: EtcdSettings, tmp_path: Path) -> None:
    """The worker is stopped by a signal while the scrape is answered, and serves as soon as it may go on."""
    async with routing(etcd, tmp_path) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        await router.publish_many(10_000)
        assert (await router.get("/fn/fn")).status == 200
        (worker,) = map(psutil.Process, router.workers())
        admin_port = int(router.known.admin.rpartition(":")[2])
        assert admin_port not in {it.laddr.port for it in worker.net_connections("tcp")}
        worker.suspend()
        try:
            scraped = await router.ask("/metrics")
        finally:
            worker.resume()
        assert scraped.status == 200
        assert (
            b'hotswap_invocations_total{alias="production",function="fn",outcome="ok",version="1"} 1.0' in scraped.body
        )
        assert (await router.get("/fn/fn")).status == 200
        assert router.workers() == [worker.pid], "it is the same one"
