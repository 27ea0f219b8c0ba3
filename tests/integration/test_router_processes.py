"""The router as processes: workers that die, are replaced, are drained; an etcd that goes away; a boot without it."""

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

import aiohttp
import msgspec
import psutil
import pytest

from hotswap import etcd as etcd_client
from hotswap.etcd.local import LocalEtcd
from hotswap.kv import Put
from hotswap.metrics import Counters
from hotswap.settings import EtcdSettings, Lane
from hotswap.store import Store
from tests.conditions import eventually
from tests.load import steady_load
from tests.router_harness import (
    RouterUnderTest,
    announced,
    answering,
    endpoint,
    read_request,
    response,
    routing,
    start_router,
    upstream,
)


async def test_behind_a_proxy_of_ours_users_are_told_apart_by_what_it_tells(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    more = ("--trusted", "127.0.0.0/8")
    async with routing(etcd, tmp_path, lane=lane, more=more) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address], 2: [server.address]}, weights={1: 100})
        await router.shift("fn", {1: 50, 2: 50}, sticky={"by": "client", "salt": "s"}, last_good=1)
        versions = {}
        for user in (f"192.0.2.{number}" for number in range(24)):
            told = {"X-Forwarded-For": f"6.6.6.6, {user}", "X-Forwarded-Proto": "https"}
            answers = [await router.get("/fn/fn", headers=told) for _ in range(4)]
            versions[user] = {answer.version for answer in answers}
            assert server.requests[-1].fields["x-forwarded-for"] == f"6.6.6.6, {user}, 127.0.0.1"
            assert server.requests[-1].fields["x-forwarded-proto"] == "https"
        assert {len(seen) for seen in versions.values()} == {1}
        assert set.union(*versions.values()) == {1, 2}


async def test_a_limit_that_the_command_is_told_is_the_workers(etcd: EtcdSettings, tmp_path: Path, lane: Lane) -> None:
    more = ("--body-timeout", "200ms")
    async with routing(etcd, tmp_path, lane=lane, more=more) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        reader, writer = await asyncio.open_connection(*router.host_port)
        writer.write(b"POST /fn/fn HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx")
        async with asyncio.timeout(20):
            answer = await reader.read(-1)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not go on for 0.2 s" in answer


async def test_each_malformed_request_is_told_of_to_who_asks_for_that(
    etcd: EtcdSettings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with routing(etcd, tmp_path, more=["--log-level", "debug"]) as router:
        reader, writer = await asyncio.open_connection(*router.host_port)
        writer.write(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    told = [line for line in capfd.readouterr().err.splitlines() if "a request is refused: " in line]
    assert len(told) == 1
    assert " DEBUG " in told[0]


async def test_a_killed_worker_loses_no_count_and_is_started_again(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with routing(etcd, tmp_path, workers=2, lane=lane) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        await router.spread(50)
        before = set(router.workers())
        assert (await router.tally()).invocations == 50
        router.kill_worker()
        await router.spread(50)  # some wait in the backlog of the one that is gone
        assert (await router.tally()).invocations == 100
        assert await router.metric("hotswap_router_worker_restarts_total") == 1
        assert len(set(router.workers()) - before) == 1
        assert await router.metric("hotswap_in_flight") == 0
        await router.shift("fn", {1: 100})
        assert (await router.ask("/readyz")).status == 200


async def test_a_worker_that_hangs_is_killed_and_started_again(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with routing(etcd, tmp_path, workers=1) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        (worker,) = router.workers()
        os.kill(worker, signal.SIGSTOP)
        await eventually(lambda: router.workers() not in ([worker], []))
        assert (await router.get("/fn/fn")).status == 200


async def test_replacing_the_workers_under_load_fails_no_request(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with routing(etcd, tmp_path, workers=2, lane=lane) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        before = set(router.workers())
        async with steady_load(router.url("/fn/fn"), rate=100) as seen:
            await eventually(lambda: seen.answered > 20)
            router.process.send_signal(signal.SIGHUP)
            await eventually(lambda: len(set(router.workers()) - before) == 2 and not before & set(router.workers()))
            after = seen.answered
            await eventually(lambda: seen.answered > after + 20)
        assert seen.failures == []
        assert (await router.tally()).invocations == seen.answered
        assert await router.metric("hotswap_router_worker_restarts_total") == 0


async def test_a_drain_finishes_what_runs_and_ends_well(etcd: EtcdSettings, tmp_path: Path, lane: Lane) -> None:
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await go_on.wait()
        writer.write(response(b"done"))

    async with routing(etcd, tmp_path, lane=lane) as router, upstream(talk) as server, asyncio.TaskGroup() as tasks:
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        idle_reader, idle_writer = await asyncio.open_connection(*router.host_port)
        call = tasks.create_task(router.get("/fn/fn"))
        await eventually(lambda: server.requests)
        router.process.send_signal(signal.SIGTERM)
        assert await idle_reader.read(1) == b"", "an idle connection is closed"
        assert await router.store.routers.list() == [], "it is not announced any more"
        assert (await router.ask("/readyz")).status == 503
        go_on.set()
        answer = await call
        assert (answer.body, answer.headers["Connection"]) == (b"done", "close")
        assert await router.process.wait() == 0
        idle_writer.close()


async def test_what_runs_past_the_drain_limit_is_cut(etcd: EtcdSettings, tmp_path: Path, lane: Lane) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()

    drain = timedelta(seconds=0.2)
    async with routing(etcd, tmp_path, drain=drain, lane=lane) as router, upstream(talk) as server:
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(_failing(router))
            await eventually(lambda: server.requests)
            assert await router.end() == 0
            assert await call


async def _failing(router: RouterUnderTest) -> bool:
    with pytest.raises(aiohttp.ClientError):
        await router.get("/fn/fn")
    return True


async def test_workers_end_when_their_parent_is_killed(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with routing(etcd, tmp_path, workers=2) as router:
        workers = router.workers()
        router.process.kill()
        await router.process.wait()
        await eventually(lambda: not any(_runs(worker) for worker in workers))


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def test_applied_waits_until_every_worker_has_the_revision(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with routing(etcd, tmp_path, workers=2) as router:
        await router.publish("fn", {1: []}, weights={1: 100})
        told = (await router.ask("/applied")).json()
        far = told["aliases"] + 1_000
        assert (await router.ask(f"/applied?subject=aliases&revision={far}&wait=0.1")).status == 202
        assert (await router.ask("/applied?subject=aliases&revision=x")).status == 400
        assert (await router.ask("/applied?subject=nodes")).status == 400


async def test_the_counts_of_several_functions_are_told_at_once(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with routing(etcd, tmp_path) as router, upstream(answering()) as server:
        for name in ("one", "two", "three"):
            await router.publish(name, {1: [server.address]}, weights={1: 100})
            assert (await router.get(f"/fn/{name}")).status == 200
        told = msgspec.json.decode((await router.ask("/counters?function=one&function=two")).body, type=Counters)
        counted = {row.function: row.tally.invocations for row in told.rows}
        assert counted == {"one": 1, "two": 1}
        assert (await router.ask("/counters")).status == 200


async def test_endpoints_whose_lease_ends_at_once_are_used_on(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with routing(etcd, tmp_path) as router, upstream(answering()) as server:
        await router.publish("fn", {1: []}, weights={1: 100})
        lease = await router.store.kv.grant(timedelta(seconds=10))
        transaction = router.store.transaction()
        for instance in ("a", "b"):
            transaction.announce(endpoint("fn", 1, instance, server.address), lease=lease.id)
        await router.applied("endpoints", await transaction.commit())
        await lease.revoke()
        async with asyncio.timeout(20):
            while await router.metric("hotswap_router_kept_endpoints") < 2:  # noqa: ASYNC110 - it tells when asked
                await asyncio.sleep(0.02)
        assert (await router.get("/fn/fn")).status == 200


async def test_a_value_that_cannot_be_read_leaves_the_last_good_one(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with routing(etcd, tmp_path) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address], 2: [server.address]}, weights={1: 100})
        for bad in (b"{", b'{"function": "fn", "name": "production", "weights": {"2": 90}}'):
            revision = await router.store.kv.commit(require=[], write=[Put("/hotswap/aliases/fn/production", bad)])
            await router.applied("aliases", revision)
            assert (await router.get("/fn/fn")).version == 1


async def test_invocations_go_on_while_etcd_is_away_and_changes_arrive_when_it_is_back(
    private_etcd: LocalEtcd, tmp_path: Path
) -> None:
    settings = EtcdSettings(endpoints=(private_etcd.endpoint,))
    async with routing(settings, tmp_path / "router", workers=2) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address], 2: [server.address]}, weights={1: 100})
        async with steady_load(router.url("/fn/fn"), rate=50) as seen:
            await private_etcd.kill()
            sent = seen.answered
            await eventually(lambda: seen.answered > sent + 50)
            await private_etcd.start()
            await router.shift("fn", {2: 100})
            assert (await router.get("/fn/fn")).version == 2
        assert seen.failures == []


async def test_a_router_boots_from_its_disk_with_etcd_away(private_etcd: LocalEtcd, tmp_path: Path) -> None:
    settings = EtcdSettings(endpoints=(private_etcd.endpoint,))
    folder = tmp_path / "router"
    async with upstream(answering()) as server:
        async with routing(settings, folder) as router:
            await router.publish("fn", {1: [server.address], 2: [server.address]}, weights={1: 100})
            bind = router.known.address
            table = folder / "table"
            await eventually(lambda: table.exists() and b"production" in table.read_bytes())
        await private_etcd.kill()
        process = await start_router(settings, folder, workers=1, drain=timedelta(seconds=1), bind=bind)
        try:
            async with aiohttp.ClientSession() as session:
                assert await answered(session, f"http://{bind}/fn/fn") == "1"
                await private_etcd.start()
                store = Store(etcd_client.connect(settings))
                known = await announced(store)
                stored = await store.aliases.get("fn", "production")
                assert stored
                record = msgspec.structs.replace(stored.value, weights={2: 100})
                revision = await store.transaction().replace(stored, record).commit()
                url = f"http://{known.admin}/applied?subject=aliases&revision={revision}&wait=20"
                async with session.get(url) as told:
                    assert told.status == 200
                assert await answered(session, f"http://{bind}/fn/fn") == "2"
                await store.kv.close()
        finally:
            process.terminate()
            assert await process.wait() == 0


async def answered(session: aiohttp.ClientSession, url: str) -> str:
    """The version that answers, as soon as one does."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with session.get(url) as answer:
                    assert answer.status == 200
                    return answer.headers["Hotswap-Version"]
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def test_a_router_that_is_ended_before_it_knows_anything_ends_well(tmp_path: Path) -> None:
    nowhere = EtcdSettings(endpoints=("127.0.0.1:1",))
    process = await start_router(nowhere, tmp_path, workers=1, drain=timedelta(seconds=1))
    await eventually(lambda: psutil.Process(process.pid).net_connections())
    process.terminate()
    assert await process.wait() == 0
