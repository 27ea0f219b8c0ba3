"""The two sources of counts beside each other, on real routers and a real Prometheus: what one says, the other does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.decision import Counted
from controller.metrics.prometheus import PrometheusCounts, prometheus
from controller.metrics.routers import Counts, Trail
from controller.sampling import looking
from hotswap.admin import admin_ports
from hotswap.errors import Unavailable
from hotswap.judge.basis import Basis
from hotswap.judge.guard import watch
from hotswap.judge.thresholds import judge
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.metrics import Counters
from hotswap.model import Router
from hotswap.requests import Limits
from hotswap.routers import Admin
from hotswap.settings import EtcdSettings, PrometheusSettings
from hotswap.store import Store
from tests.controller_walk import deployment
from tests.functions import ECHO, write_function
from tests.load import steady_load
from tests.prometheus import free_address
from tests.prometheus import prometheus as running
from tests.router_harness import RouterUnderTest, answering, routing, upstream
from tests.stage import staged

SCRAPE = timedelta(seconds=15)
"""As the source is told; it is scraped much more often, and a busy machine must not make that an error."""
LIMIT = 60.0
LIMITS = Limits(rollback_on_error_rate=0.05, min_invocations=20)
PATH = "/metrics/revisions"


def now() -> datetime:
    return datetime.now(UTC)


class Living:
    """The routers that are asked, and that have to be scraped."""

    def __init__(self, admin: Admin, *routers: RouterUnderTest) -> None:
        self.known = [router.known for router in routers]
        self._admin = admin

    def __call__(self) -> list[Router]:
        return self.known

    async def counters(self, function: str) -> list[Counters]:
        return [await self._admin.counters(router, function) for router in self.known]


@asynccontextmanager
async def sources(
    folder: Path, *routers: RouterUnderTest
) -> AsyncIterator[tuple[Living, PrometheusCounts, PrometheusSettings]]:
    """The routers, and a Prometheus that scrapes them, which is to be found there."""
    targets = [router.known.admin for router in routers]
    async with running(targets, folder, path=PATH) as address, admin_ports() as admin:
        living = Living(admin, *routers)
        settings = PrometheusSettings(f"http://{address}", SCRAPE)
        async with prometheus(settings, routers=living, clock=now) as counts:
            yield living, counts, settings


class Side:
    """What one source tells of a deployment that has begun at this revision."""

    def __init__(self, counts: Counts, store: Store, *, since: int) -> None:
        self._since = since
        trail = Trail(counts, function="fn", alias="production", since=since)
        self._look = looking(trail, deployment(stable={1: 100}), store)

    async def now(self) -> Counted:
        return await self._look(now())

    async def after(self, moment: datetime) -> Counted:
        """As it was counted after that."""
        why: object = "only older ones"
        try:
            async with asyncio.timeout(LIMIT):
                while True:
                    try:
                        if (counted := await self.now()).begun >= moment:
                            return counted
                    except Unavailable as error:
                        why = error
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"no counts: {why}") from None

    def verdicts(self, counted: Counted) -> tuple[Verdict | None, Verdict]:
        """Of the guard, and at the end of a phase."""
        basis = Basis(
            version=2,
            step=3,
            at=datetime(2026, 1, 1, tzinfo=UTC),
            tally=counted.of(2, since=self._since),
            limits=LIMITS,
            epochs=counted.epochs(2, 1, since=self._since),
        )
        return watch(basis), judge(basis)


@pytest.mark.parametrize(
    ("status", "outcome", "guard"), [("200 OK", Outcome.PASS, None), ("503 Down", Outcome.FAIL, Outcome.FAIL)]
)
async def test_both_count_the_same_and_come_to_the_same_verdict(
    etcd: EtcdSettings, tmp_path: Path, status: str, outcome: Outcome, guard: Outcome | None
) -> None:
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(routing(etcd, tmp_path / name, workers=2, name=name))
            for name in ("r1", "r2")
        ]
        stable = await stack.enter_async_context(upstream(answering()))
        canary = await stack.enter_async_context(upstream(answering(status=status)))
        routers, counts, _ = await stack.enter_async_context(sources(tmp_path, one, two))
        await one.publish("fn", {1: [stable.address], 2: [canary.address]}, weights={1: 100}, concurrency=1_000)
        for _ in range(30):
            await one.get("/fn/fn")  # before the deployment: no part of it
            await one.get("/fn/fn:2")  # nor is what names its version
        since = await one.shift("fn", {1: 50, 2: 50})
        await two.applied("aliases", since)
        direct, kept = Side(routers, one.store, since=since), Side(counts, one.store, since=since)
        async with steady_load(one.url("/fn/fn"), rate=50), steady_load(two.url("/fn/fn"), rate=50) as load:
            while load.sent < 100:
                before = await direct.now()
                scraped = await kept.after(now())
                after = await direct.now()
                for key, tally in scraped.tallies.items():
                    least, most = before.tallies[key].counts, after.tallies[key].counts
                    assert all(a <= b <= c for a, b, c in zip(least, tally.counts, most, strict=True)), key
        scraped, told = await kept.after(now()), await direct.now()
        assert scraped.tallies == told.tallies, "to the last count of each bucket"
        assert told.of(2, since=since).invocations >= 100
        assert kept.verdicts(scraped) == direct.verdicts(told)
        breach, phase = kept.verdicts(scraped)
        assert (breach and breach.outcome, phase.outcome) == (guard, outcome)


async def test_what_a_router_counted_before_it_was_started_again_is_known_to_who_comes_later(
    etcd: EtcdSettings, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(upstream(answering()))
        admin = free_address()
        options = ("--admin", admin)
        async with routing(etcd, tmp_path / "r", more=options) as router:
            await router.publish("fn", {1: [server.address]}, weights={1: 100})
            since = await router.shift("fn", {1: 100})
            routers, counts, settings = await stack.enter_async_context(sources(tmp_path, router))
            for _ in range(5):
                await router.get("/fn/fn")
            first = await Side(counts, router.store, since=since).after(now())
            assert first.invocations == 5
        again = await stack.enter_async_context(routing(etcd, tmp_path / "r", more=options))
        assert again.known.boot != routers.known[0].boot
        routers.known = [again.known]
        await again.applied("aliases", since)
        for _ in range(3):
            await again.get("/fn/fn")
        later = await stack.enter_async_context(prometheus(settings, routers=routers, clock=now))
        counted = await Side(later, again.store, since=since).after(now())
        assert counted.invocations == 8
        assert (await Side(routers, again.store, since=since).now()).invocations == 3, "the router has forgotten"


async def test_a_router_that_nobody_scrapes_is_an_error_and_not_zero(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with (
        routing(etcd, tmp_path / "r1", name="r1") as one,
        routing(etcd, tmp_path / "r2", name="r2") as two,
        upstream(answering()) as server,
        sources(tmp_path, one) as (routers, counts, _),
    ):
        await one.publish("fn", {1: [server.address]}, weights={1: 100})
        await Side(counts, one.store, since=1).after(now())
        routers.known.append(two.known)
        with pytest.raises(Unavailable, match=r'not scraped router "r2" .* within the last 45 s') as refused:
            await counts.counters("fn")
        assert "docs/observe.md" in refused.value.hint


async def test_a_function_that_prometheus_knows_nothing_of_is_an_error_and_not_zero(
    etcd: EtcdSettings, tmp_path: Path
) -> None:
    async with (
        routing(etcd, tmp_path / "r1") as router,
        upstream(answering()) as server,
        sources(tmp_path, router) as (_, counts, _),
    ):
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        nobody = await Side(counts, router.store, since=1).after(now())
        assert nobody.invocations == 0, "it was told of, so nobody invoked it"
        with pytest.raises(Unavailable, match='no series hotswap_revision_invocations_total of function "other"'):
            await counts.counters("other")


FAILING = """
    def handler(event, context):
        raise RuntimeError("as ever")
"""


async def test_a_platform_that_judges_by_prometheus_takes_a_bad_canary_back_and_keeps_a_good_one(
    tmp_path: Path,
) -> None:
    address = free_address()
    settings = PrometheusSettings(f"http://{address}", SCRAPE)
    async with (
        staged(tmp_path, agents=1, prometheus=settings) as stage,
        running([stage.platform.admin], tmp_path, path=PATH, address=address),
    ):
        for label, code in {"one": ECHO, "two": FAILING, "three": ECHO}.items():
            values = {} if code is FAILING else {"label": label}
            await stage.publish(write_function(stage.folder / label, code, name="judged", **values))
        await stage.all_at_once("judged", 1)
        phases = {"canaryIncrements": [50], "canaryDuration": "PT4S", "minInvocations": 20}
        async with steady_load(stage.url("judged"), rate=50):
            bad = await stage.canary("judged", 2, **phases)
            await stage.hotswap("get", "deployment", bad, "-w", code=None)
            good = await stage.canary("judged", 3, **phases)
            await stage.hotswap("get", "deployment", good, "-w", code=None)
        taken, kept = await stage.deployment(bad), await stage.deployment(good)
        assert taken["status"] == "RolledBack", taken
        assert kept["status"] == "Succeeded", kept
        assert kept["verdicts"][0]["outcome"] == "PASS", "judged by counts, and by enough of them"
