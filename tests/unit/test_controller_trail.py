"""What versions did under an alias: by revision of the weights, summed over routers and their boots."""

from msgspec.structs import replace

from controller.metrics.routers import Trail
from hotswap.metrics import Count, CounterRow, Counters, Tally
from hotswap.usage import Reported, Usage

SINCE = 70


class Told:
    """What the routers answer, one answer after the other."""

    def __init__(self, *answers: list[Counters]) -> None:
        self._answers = list(answers)

    async def counters(self, function: str) -> list[Counters]:
        return self._answers.pop(0)


def row(*, good: int, alias: str = "production", version: int = 6, revision: int = SINCE) -> CounterRow:
    counts = Tally.zero().counts
    counts[Count.OK] = good
    return CounterRow(function="f", alias=alias, version=version, alias_revision=revision, tally=Tally(counts=counts))


def router(name: str, *rows: CounterRow, boot: str = "1") -> Counters:
    return Counters(router=name, boot=boot, rows=list(rows))


def trail(told: Told) -> Trail:
    return Trail(told, function="f", alias="production", since=SINCE)


async def counted(trail: Trail) -> int:
    """Invocations of version 6, all in all."""
    tallies = await trail.tallies()
    return sum(tally.invocations for (version, _), tally in tallies.items() if version == 6)


async def test_routers_are_summed() -> None:
    told = trail(Told([router("r1", row(good=3)), router("r2", row(good=4))]))
    assert await counted(told) == 7


async def test_what_was_counted_under_earlier_weights_is_no_part_of_it() -> None:
    told = trail(Told([router("r1", row(good=3, revision=SINCE - 1), row(good=4), row(good=5, revision=SINCE + 1))]))
    assert await counted(told) == 9


async def test_other_versions_and_aliases_and_invocations_that_named_the_version_do_not_count() -> None:
    rows = (row(good=1, version=5), row(good=2, alias="staging"), row(good=4, alias=""), row(good=8))
    assert await counted(trail(Told([router("r1", *rows)]))) == 8


async def test_a_router_that_starts_again_keeps_what_was_seen_of_it() -> None:
    told = trail(
        Told(
            [router("r1", row(good=100))],
            [router("r1", row(good=5), boot="2")],
            [router("r1", row(good=7), boot="2")],
        )
    )
    assert [await counted(told) for _ in range(3)] == [100, 105, 107]


async def test_a_router_that_is_gone_keeps_its_count() -> None:
    told = trail(Told([router("r1", row(good=10)), router("r2", row(good=1))], [router("r2", row(good=2))]))
    assert [await counted(told) for _ in range(2)] == [11, 12]


async def test_what_a_router_put_together_since_still_counts() -> None:
    told = trail(Told([router("r1", row(good=10))], [router("r1", row(good=10, revision=0), row(good=2, revision=80))]))
    assert [await counted(told) for _ in range(2)] == [10, 12]


async def test_who_was_seen_by_two_routers_is_one_user_and_what_a_router_that_is_gone_had_seen_counts_on() -> None:
    def seen(cell: int, value: float) -> CounterRow:
        usage = Usage(users=(1 << cell).to_bytes(8192, "little"), reported={"a": Reported.one(value, cell=0)})
        return replace(row(good=1), usage=usage)

    told = trail(Told([router("r1", seen(3, 1.0)), router("r2", seen(3, 2.0))], [router("r2", seen(4, 4.0))]))
    totals = []
    for _ in range(2):
        await told.tallies()
        usage = told.usages()[6, SINCE]
        totals.append((sum(usage.cells), usage.reported["a"].sum))
    assert totals == [(1, 3.0), (2, 5.0)]
