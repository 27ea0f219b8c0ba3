"""The router's /metrics: as Prometheus reads it, equal to the router's own counters, and answered by no worker."""

import asyncio
import subprocess
from pathlib import Path

import aiohttp
import psutil

from hotswap.metrics import Count
from hotswap.settings import EtcdSettings
from tests.prometheus import equals, program, prometheus
from tests.router_harness import RouterUnderTest, answering, routing, upstream


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


async def test_promtool_accepts_what_a_router_with_traffic_tells(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with routing(etcd, tmp_path, workers=2) as router, upstream(answering()) as server:
        await invoked(router, server.address)
        text = (await router.ask("/metrics")).body + (await router.ask("/metrics/revisions")).body
    checked = await asyncio.to_thread(
        subprocess.run, [program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_prometheus_answers_what_the_router_has_counted(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with (
        routing(etcd, tmp_path / "router", workers=2) as router,
        upstream(answering()) as server,
        prometheus([router.known.admin], tmp_path) as address,
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
