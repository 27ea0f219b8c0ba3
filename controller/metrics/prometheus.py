"""The counts of all routers as Prometheus has scraped them: the second source by which a version can be judged.

The controller then asks one place however many routers there are, and what a router counted that has died since is not
lost with the leader that saw it. A count is as old as the last scrape of its router, and says so: a phase is judged by
what was scraped after its end. For the same reason a router that lives and was not scraped of late is an error: what is
missing is never taken for zero.

One query tells when each router was scraped. Only when one was scraped again a second query asks for the counts, of all
functions that somebody has asked about within a moment. A function that was not asked about before is looked at over
some hours, one by itself, since that many samples have to be read: so a new leader knows what routers counted that are
gone.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp

from controller.metrics.promql import SEE, PromQL, Sample
from hotswap import series
from hotswap.errors import Unavailable
from hotswap.metrics import ROW, CounterRow, Counters, Tally
from hotswap.model import Router
from hotswap.questions import Questions
from hotswap.settings import PrometheusSettings

STALE = 3
"""Scrapes that may fail before what they have told is too old."""
REMEMBERED = timedelta(hours=6)
"""How far back the first look at a function goes."""
LABELS = ", ".join(["__name__", *series.LABELS, series.OUTCOME, series.UP_TO])
"""All that tell series of routers apart; what else a series is labelled with says who has scraped it."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """The last scrape of a router."""

    stamp: float
    """By Prometheus's clock."""
    at: datetime
    """By ours."""


Told = list[Counters] | Unavailable


class PrometheusCounts:
    """`routers` gives those that live. To be closed by its owner."""

    def __init__(
        self,
        promql: PromQL,
        *,
        routers: Callable[[], Collection[Router]],
        scrape: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._promql = promql
        self._routers = routers
        self._scrape = scrape
        self._clock = clock
        self._questions = Questions(self._together)
        self._scraped: dict[str, Scraped] = {}
        """By boot."""
        self._known: dict[str, Told] = {}
        """By function, what was told of these scrapes."""
        self._seen: set[str] = set()
        """Functions that were looked at before."""

    async def counters(self, function: str) -> list[Counters]:
        told = await self._questions.answer(None, function)
        if isinstance(told, Unavailable):
            raise Unavailable(told.message, hint=told.hint)
        return told

    async def close(self) -> None:
        await self._questions.close()

    async def _together(self, _: None, functions: set[str]) -> Mapping[str, Told]:
        await self._look_for_scrapes()
        known = self._known  # another look may find new scrapes meanwhile, and begin another
        for function in functions - known.keys() - self._seen:
            known |= await self._counted({function}, REMEMBERED)
            if not isinstance(known[function], Unavailable):
                self._seen.add(function)
        if missing := functions - known.keys():
            known |= await self._counted(missing, STALE * self._scrape)
        return {function: known[function] for function in functions}

    async def _look_for_scrapes(self) -> None:
        """Raises `Unavailable` unless all routers that live were scraped of late."""
        window = STALE * self._scrape.total_seconds()
        asked = self._clock()
        told = await self._promql.ask(  # the second part is for a router whose last scrape failed
            f"timestamp({series.BOOT}) or max_over_time(timestamp({series.BOOT})[{window:g}s:1s])"
        )
        newest, living = _newest(told, asked, window), self._routers()
        for router in living:
            if router.boot not in newest:
                raise Unavailable(
                    f'Prometheus has not scraped router "{router.name}" at {router.admin} within the last {window:g} s',
                    hint=f"is its /metrics/revisions scraped, and every {window / STALE:g} s as "
                    f"--prometheus-scrape-interval says? {SEE}",
                )
        known = self._scraped  # to others who asked meanwhile a later one may have been told
        found = {
            router.boot: max(known.get(router.boot, newest[router.boot]), newest[router.boot], key=lambda it: it.stamp)
            for router in living
        }
        if _stamps(found) != _stamps(self._scraped):
            self._scraped, self._known = found, {}

    async def _counted(self, functions: set[str], window: timedelta) -> dict[str, Told]:
        scraped = self._scraped
        names = "|".join(sorted(functions))  # in the name of a function there is nothing to escape
        selector = f'{{__name__=~"{"|".join(series.NAMES)}", function=~"{names}"}}[{window.total_seconds():g}s]'
        rows = _rows(await self._promql.ask(f"max by ({LABELS}) (last_over_time({selector}))"))
        return {function: _told(function, rows[function], scraped) for function in functions}


def _told(function: str, rows: list[tuple[str, CounterRow]], scraped: Mapping[str, Scraped]) -> Told:
    """One that something is missing of is an error: routers tell zeros too. It is no error of others."""
    missing = None if rows else series.INVOCATIONS
    if any(row.tally.invocations and not any(row.tally.buckets) for _, row in rows):
        missing = series.DURATIONS
    if missing:
        hint = f"its routers were scraped: does a metric_relabel_configs drop it? {SEE}"
        return Unavailable(f'Prometheus has no series {missing} of function "{function}"', hint=hint)
    by_boot = defaultdict[str, list[CounterRow]](list, {boot: [] for boot in scraped})
    for boot, row in rows:
        by_boot[boot].append(row)
    return [
        Counters(router=boot, boot=boot, rows=some, at=scraped[boot].at if boot in scraped else None)
        for boot, some in sorted(by_boot.items())
    ]  # a router that is gone is not waited for to be scraped again


def _newest(told: list[Sample], asked: datetime, window: float) -> dict[str, Scraped]:
    """By boot, not older than the window, in seconds; several may have scraped the same one."""
    found: dict[str, Scraped] = {}
    for sample in told:
        boot, stamp, evaluated = sample.metric.get("boot", ""), sample.number, sample.value[0]
        if evaluated - stamp <= window and (boot not in found or stamp > found[boot].stamp):
            found[boot] = Scraped(stamp, asked - timedelta(seconds=max(0.0, evaluated - stamp)))
    return found


def _stamps(scraped: Mapping[str, Scraped]) -> dict[str, float]:
    return {boot: one.stamp for boot, one in scraped.items()}


def _rows(told: list[Sample]) -> Mapping[str, list[tuple[str, CounterRow]]]:
    """By function, each with the boot that counted it."""
    counts: defaultdict[tuple[str, str, str, int, int], list[int]] = defaultdict(lambda: [0] * ROW)
    for sample in told:
        try:
            owner = _owner(sample.metric)
            position, value = series.read(sample.metric["__name__"], sample.metric, sample.number)
        except (KeyError, ValueError):
            raise Unavailable(f"Prometheus tells a series that no router tells: {sample.metric}", hint=SEE) from None
        counts[owner][position] = value
    rows = defaultdict[str, list[tuple[str, CounterRow]]](list)
    for (boot, function, alias, version, revision), row in counts.items():
        tally = Tally(counts=row)
        one = CounterRow(function=function, alias=alias, version=version, alias_revision=revision, tally=tally)
        rows[function].append((boot, one))
    return rows


def _owner(labels: Mapping[str, str]) -> tuple[str, str, str, int, int]:
    function, alias, version, revision, boot = (labels[name] for name in series.LABELS)
    return boot, function, alias, int(version), int(revision)


@asynccontextmanager
async def prometheus(
    settings: PrometheusSettings, *, routers: Callable[[], Collection[Router]], clock: Callable[[], datetime]
) -> AsyncIterator[PrometheusCounts]:
    async with aiohttp.ClientSession() as session:
        promql = PromQL(session, settings)
        counts = PrometheusCounts(promql, routers=routers, scrape=settings.scrape, clock=clock)
        try:
            yield counts
        finally:
            await counts.close()
