"""Counts from a Prometheus that answers as it is told to: right, wrong, late, in part and not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controller.decision import Counted, Uncounted
from controller.metrics import promql
from controller.metrics.prometheus import PrometheusCounts, prometheus
from controller.metrics.routers import Trail
from controller.sampling import Sampler, looking
from hotswap import series
from hotswap.errors import Unavailable
from hotswap.memory import MemoryKV
from hotswap.metrics import Count, Tally
from hotswap.model import Router
from hotswap.settings import PrometheusSettings
from hotswap.store import Store
from tests.controller_walk import deployment
from tests.router_harness import refusing_address

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVALUATED = 1_700_000_000.0
"""Prometheus's clock, which is not ours."""
SCRAPE = timedelta(seconds=15)
R1 = Router(name="r1", address="127.0.0.1:8080", admin="127.0.0.1:9001", boot="b1")
R2 = Router(name="r2", address="127.0.0.1:8081", admin="127.0.0.1:9002", boot="b2")

Sample = dict[str, Any]
Answer = Callable[[str], web.StreamResponse]


def sample(labels: Mapping[str, str], value: float) -> Sample:
    return {"metric": dict(labels), "value": [EVALUATED, repr(value)]}


def scraped(router: Router, *, ago: float, **labels: str) -> Sample:
    return sample({"router": router.name, "boot": router.boot, **labels}, EVALUATED - ago)


def counted(*, good: int, bad: int = 0, function: str = "f", boot: str = "b1", revision: int = 7) -> list[Sample]:
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.STATUS], counts[-2] = good, bad, good + bad
    of = {"function": function, "alias": "production", "version": "6", "revision": str(revision), "boot": boot}
    return [
        sample({"__name__": name, **of, **more}, value) for name, more, value in series.written(Tally(counts=counts))
    ]


def vector(*samples: Sample) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": list(samples)}})


class Prometheus:
    """Answers with what was scraped when, and with counts."""

    def __init__(self) -> None:
        self.scrapes = [scraped(R1, ago=4)]
        self.counts: list[Sample] = counted(good=3)
        self.instead: Answer | None = None
        """Of all that is asked."""
        self.queries: list[str] = []
        self.tokens: list[str | None] = []

    async def query(self, request: web.Request) -> web.StreamResponse:
        asked = str((await request.post())["query"])
        self.queries.append(asked)
        self.tokens.append(request.headers.get("Authorization"))
        if self.instead:
            return self.instead(asked)
        return vector(*(self.scrapes if series.BOOT in asked else self.counts))


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def asking(
    server: Prometheus, *, routers: list[Router] | None = None, bearer: Path | None = None, clock: Clock | None = None
) -> AsyncIterator[PrometheusCounts]:
    app = web.Application()
    app.router.add_post("/behind/api/v1/query", server.query)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = PrometheusSettings(f"http://127.0.0.1:{runner.addresses[0][1]}/behind/", SCRAPE, bearer)
    living = [R1] if routers is None else routers
    try:
        async with prometheus(settings, routers=lambda: living, clock=clock or Clock()) as counts:
            yield counts
    finally:
        await runner.cleanup()


async def invocations(counts: PrometheusCounts, function: str = "f") -> int:
    trail = Trail(counts, function=function, alias="production", since=7)
    return sum(tally.invocations for tally in (await trail.tallies()).values())


async def refused(server: Prometheus, **options: Any) -> Unavailable:
    async with asking(server, **options) as counts:
        with pytest.raises(Unavailable) as error:
            await counts.counters("f")
    assert error.value.hint
    return error.value


async def test_counts_are_as_old_as_the_oldest_of_the_last_scrapes_by_our_own_clock() -> None:
    server = Prometheus()
    server.scrapes = [scraped(R1, ago=4), scraped(R2, ago=9)]
    server.counts = counted(good=3, bad=1) + counted(good=5, boot="b2")
    async with asking(server, routers=[R1, R2]) as counts:
        trail = Trail(counts, function="f", alias="production", since=7)
        tallies = await trail.tallies()
    assert (tallies[6, 7].invocations, tallies[6, 7].errors) == (9, 1)
    assert trail.at == NOW - timedelta(seconds=9)


async def test_a_scrape_that_was_seen_is_of_the_same_time_and_nothing_is_asked_again() -> None:
    server, clock = Prometheus(), Clock()
    async with asking(server, clock=clock) as counts:
        [first] = await counts.counters("f")
        clock.now += timedelta(seconds=1.3)
        [again] = await counts.counters("f")
        assert (again, again.at) == (first, NOW - timedelta(seconds=4))
        assert len(server.queries) == 3
        server.scrapes, server.counts = [scraped(R1, ago=1)], counted(good=8)
        assert await invocations(counts) == 8
        assert len(server.queries) == 5


async def test_what_many_ask_within_a_moment_is_one_query_but_for_the_first_look_at_each() -> None:
    server = Prometheus()
    server.counts = counted(good=1) + counted(good=2, function="g")
    async with asking(server) as counts:
        assert await asyncio.gather(*(invocations(counts, name) for name in "fgf")) == [1, 2, 1]
        assert len(server.queries) == 3, "one for the scrapes, one for each function"
        assert all("[21600s]" in query for query in server.queries[1:])
        server.scrapes = [scraped(R1, ago=1)]
        assert await asyncio.gather(*(invocations(counts, name) for name in "fgf")) == [1, 2, 1]
        assert len(server.queries) == 5
        assert 'function=~"f|g"' in server.queries[-1]
        assert "[45s]" in server.queries[-1]


async def test_who_was_scraped_twice_is_counted_once() -> None:
    server = Prometheus()
    server.scrapes = [scraped(R1, ago=4, replica="a"), scraped(R1, ago=2, replica="b")]
    async with asking(server) as counts:
        [told] = await counts.counters("f")
    assert told.at == NOW - timedelta(seconds=2)
    assert f"max by (__name__, {', '.join(series.LABELS)}, outcome, up_to)" in server.queries[-1]


async def test_a_router_that_is_gone_is_counted_and_not_waited_for() -> None:
    server = Prometheus()
    server.counts += counted(good=40, boot="of yesterday")
    async with asking(server) as counts:
        assert await invocations(counts) == 43
        assert {one.boot: one.at for one in await counts.counters("f")} == {
            "b1": NOW - timedelta(seconds=4),
            "of yesterday": None,
        }


async def test_a_router_that_was_not_scraped_of_late_is_an_error() -> None:
    error = await refused(Prometheus(), routers=[R1, R2])
    assert 'has not scraped router "r2" at 127.0.0.1:9002 within the last 45 s' in error.message
    assert "every 15 s as --prometheus-scrape-interval says" in error.hint


async def test_a_scrape_that_is_too_old_is_none() -> None:
    server = Prometheus()
    server.scrapes = [scraped(R1, ago=46)]
    assert 'has not scraped router "r1"' in (await refused(server)).message


async def test_nothing_told_of_a_function_is_an_error() -> None:
    server = Prometheus()
    server.counts = counted(good=3, function="other")
    assert 'no series hotswap_revision_invocations_total of function "f"' in (await refused(server)).message


async def test_what_is_missing_of_one_function_is_no_error_of_others() -> None:
    server = Prometheus()
    async with asking(server) as counts:
        await counts.counters("f")
        server.scrapes, server.counts = [scraped(R1, ago=1)], counted(good=2, function="g")
        f, g = await asyncio.gather(counts.counters("f"), counts.counters("g"), return_exceptions=True)
    assert isinstance(f, Unavailable)
    assert not isinstance(g, BaseException)


async def test_invocations_without_durations_are_an_error() -> None:
    server = Prometheus()
    server.counts = [it for it in server.counts if it["metric"]["__name__"] != series.DURATIONS]
    assert 'no series hotswap_revision_durations_total of function "f"' in (await refused(server)).message


@pytest.mark.parametrize("wrong", [{"outcome": "lost"}, {"version": "six"}, {"revision": "NaN"}])
async def test_a_series_that_no_router_tells_is_an_error(wrong: dict[str, str]) -> None:
    server = Prometheus()
    server.counts[0]["metric"] |= wrong
    assert "a series that no router tells" in (await refused(server)).message


def saying(status: int, body: object) -> Answer:
    return lambda _: web.json_response(body, status=status)


WRONG = {"status": "error", "errorType": "execution", "error": "query processing would load too many samples"}
EMPTY: dict[str, object] = {"resultType": "matrix", "result": []}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (saying(401, {}), "refuses the controller: HTTP 401"),
        (saying(403, {}), "refuses the controller: HTTP 403"),
        (saying(422, WRONG), "HTTP 422, query processing would load too many samples"),
        (saying(200, {"status": "success"}), "does not answer the query: HTTP 200"),
        (saying(200, {"status": "success", "data": EMPTY}), "answers with a matrix"),
        (saying(200, {"status": "success", "data": EMPTY, "warnings": ["store away"]}), "in part: store away"),
        (lambda _: web.Response(text="<html>Welcome</html>"), "is no Prometheus, .* HTTP 200, '<html>Welcome"),
        (lambda _: web.Response(status=302, headers={"Location": "/login"}), "is no Prometheus, .* HTTP 302"),
        (lambda _: vector({"metric": {}, "value": [EVALUATED]}), "is no Prometheus"),
        (lambda _: vector(sample({"boot": "b1"}, float("nan"))), "tells nan of .* no count"),
    ],
)
async def test_a_bad_answer_is_an_error_that_says_what_came(answer: Answer, said: str) -> None:
    server = Prometheus()
    server.instead = answer
    async with asking(server) as counts:
        with pytest.raises(Unavailable, match=said) as error:
            await counts.counters("f")
        assert error.value.hint
        server.instead = None
        assert await invocations(counts) == 3, "and as soon as there is a good one it is taken"


async def test_one_that_does_not_answer_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promql, "LIMIT", 0.05)
    held = asyncio.Event()

    class Slow(Prometheus):
        async def query(self, request: web.Request) -> web.StreamResponse:
            await held.wait()
            return vector()

    async with asking(Slow()) as counts:
        with pytest.raises(Unavailable, match=r"does not answer within 0\.05 s"):
            await counts.counters("f")
        held.set()


async def test_one_that_is_not_there_is_an_error() -> None:
    settings = PrometheusSettings(f"http://{await refusing_address()}", SCRAPE)
    async with prometheus(settings, routers=lambda: [R1], clock=Clock()) as counts:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await counts.counters("f")


async def test_the_token_is_read_at_each_query_and_one_that_is_gone_is_an_error(tmp_path: Path) -> None:
    server, file = Prometheus(), tmp_path / "token"
    file.write_text("first\n")
    async with asking(server, bearer=file) as counts:
        await counts.counters("f")
        file.write_text("second\n")
        await counts.counters("f")
        assert server.tokens == ["Bearer first", "Bearer first", "Bearer second"]
        file.unlink()
        with pytest.raises(Unavailable, match="the token for Prometheus cannot be read from"):
            await counts.counters("f")


async def test_failures_are_counted_apart_and_the_same_scrape_is_not_taken_for_news() -> None:
    server, clock, woken = Prometheus(), Clock(), asyncio.Event()
    async with asking(server, clock=clock) as counts:
        trail = Trail(counts, function="f", alias="production", since=7)
        looks = looking(trail, deployment(stable={5: 100}), Store(MemoryKV()))
        sampler = Sampler(looks, clock=clock, wake=woken.set)

        async def look() -> Counted | Uncounted:
            clock.now += timedelta(seconds=2)
            woken.clear()
            sampler.counted(since=clock.now)
            async with asyncio.timeout(20):
                await woken.wait()
            return sampler.counted(since=NOW)

        first = await look()
        server.scrapes, server.counts = [scraped(R1, ago=1)], counted(good=8)
        second, third = await look(), await look()
        assert isinstance(first, Counted)
        assert isinstance(second, Counted)
        assert second.fresh == 5
        assert third == second
        server.instead = saying(503, {"status": "error", "error": "shutting down"})
        failed = [await look(), await look()]
        assert [it.failures for it in failed if isinstance(it, Uncounted)] == [1, 2]
        assert all("shutting down" in it.text for it in failed if isinstance(it, Uncounted))
        server.instead = None
        assert isinstance(await look(), Counted)
        await sampler.stop()
