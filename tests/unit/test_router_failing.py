"""What a router tells of bad invocations as soon as there are any: whose they are, and nothing that was told before."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.metrics import ERRORS, Count, Failure
from router.counters import PLACES, RING, STRIDE, CounterFile, Counting
from router.failing import MOST, Bad
from router.rows import Owner, Rows
from tests.router_entries import alias, table

CAPACITY = MOST + 64


@pytest.fixture
def file() -> Iterator[CounterFile]:
    made = CounterFile.create("test", capacity=CAPACITY)
    yield made
    made.close()


def rows_of(*files: CounterFile) -> Rows:
    rows = Rows(clock=time.monotonic, capacity=CAPACITY)
    for file in files:
        rows.add(file)
    return rows


def both(rows: Rows) -> dict[int, int]:
    """The rows of two versions under the alias."""
    return {row.owner.version: row.index for row in rows.follow(table(alias({1: 90, 2: 10})), ["fn"])}


def count(file: CounterFile, row: int, outcome: Count, *, slow: bool = False) -> None:
    counting = Counting(file)
    counting.begin(row)
    counting.end(row, outcome, seconds=0.010, slow=slow)


def failure(version: int) -> Failure:
    return Failure(function="fn", alias="production", version=version)


async def told(bad: Bad, *, since: int = 0) -> list[Failure]:
    return (await bad.since(since, wait=0)).failures


def test_the_ring_lies_within_the_row_of_the_worker_itself() -> None:
    assert RING + PLACES <= STRIDE


@pytest.mark.parametrize("outcome", ERRORS)
async def test_an_error_is_told_by_its_version(file: CounterFile, outcome: Count) -> None:
    rows = rows_of(file)
    count(file, both(rows)[2], outcome)
    assert await told(Bad(rows, clock=time.monotonic)) == [failure(2)]


async def test_slower_than_the_limit_is_bad_too(file: CounterFile) -> None:
    rows = rows_of(file)
    count(file, both(rows)[1], Count.OK, slow=True)
    assert await told(Bad(rows, clock=time.monotonic)) == [failure(1)]


@pytest.mark.parametrize("outcome", [Count.OK, Count.CLIENT_ERROR, Count.PLATFORM])
async def test_what_is_no_error_of_the_version_is_not_told(file: CounterFile, outcome: Count) -> None:
    rows = rows_of(file)
    count(file, both(rows)[2], outcome)
    assert await told(Bad(rows, clock=time.monotonic)) == []


async def test_what_named_its_version_is_not_told(file: CounterFile) -> None:
    rows = rows_of(file)
    count(file, rows.grant(Owner("fn", "", 2, 0)).index, Count.STATUS)
    assert await told(Bad(rows, clock=time.monotonic)) == []


async def test_what_was_told_is_told_again_only_when_it_happens_again(file: CounterFile) -> None:
    rows = rows_of(file)
    of, bad = both(rows), Bad(rows, clock=time.monotonic)
    count(file, of[2], Count.STATUS)
    look = (await bad.since(0, wait=0)).look
    assert await told(bad, since=look) == []
    count(file, of[1], Count.STATUS)
    assert await told(bad, since=look) == [failure(1)]
    assert sorted(it.version for it in await told(bad)) == [1, 2]


async def test_a_look_that_was_never_made_is_another_routers_and_all_is_told(file: CounterFile) -> None:
    rows = rows_of(file)
    bad = Bad(rows, clock=time.monotonic)
    count(file, both(rows)[2], Count.DIED)
    assert await told(bad, since=1_000) == [failure(2)]


async def test_who_waits_is_told_when_there_is_one(file: CounterFile) -> None:
    rows = rows_of(file)
    of, bad = both(rows), Bad(rows, clock=time.monotonic)
    waiting = asyncio.create_task(bad.since(0, wait=60))
    await asyncio.sleep(0)
    assert not waiting.done()
    count(file, of[2], Count.STATUS)
    async with asyncio.timeout(20):
        assert (await waiting).failures == [failure(2)]


async def test_of_more_than_the_ring_holds_the_newest_are_told(file: CounterFile) -> None:
    rows = rows_of(file)
    of, bad = both(rows), Bad(rows, clock=time.monotonic)
    count(file, of[1], Count.STATUS)
    for _ in range(PLACES):
        count(file, of[2], Count.STATUS)
    assert await told(bad) == [failure(2)]


async def test_what_is_remembered_has_a_bound(file: CounterFile) -> None:
    rows = rows_of(file)
    bad = Bad(rows, clock=time.monotonic)
    for number in range(MOST + 1):
        count(file, rows.grant(Owner(f"fn-{number}", "production", 1, 1)).index, Count.STATUS)
        await told(bad)
    remembered = await told(bad)
    assert len(remembered) == MOST
    assert remembered[0].function == f"fn-{MOST}"


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from([1, 2]), st.sampled_from(list(Count)[:7])), max_size=PLACES)
)
def test_it_is_those_with_a_bad_one_whichever_worker_counted_it(counted: list[tuple[int, int, Count]]) -> None:
    files = [CounterFile.create(f"test-{number}", capacity=64) for number in range(2)]
    rows = rows_of(*files)
    of = both(rows)
    for worker, version, outcome in counted:
        count(files[worker], of[version], outcome)
    found = asyncio.run(told(Bad(rows, clock=time.monotonic)))
    assert {it.version for it in found} == {version for _, version, outcome in counted if outcome in ERRORS}
    rows.close()
