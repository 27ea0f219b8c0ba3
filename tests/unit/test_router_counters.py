import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.metrics import BOUNDARIES, BUCKETS, FIXED, Count, bucket
from router.counters import CounterFile, Counting, Own
from router.exposition import buckets
from router.rows import FOLDED, KEEP_ROWS, KEEP_SECONDS, Owner, Rows
from router.table import Table
from tests.router_entries import alias, removed, table, update, version


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def files() -> Iterator[list[CounterFile]]:
    made = [CounterFile.create(f"test-{n}", capacity=64) for n in range(2)]
    yield made
    for file in made:
        file.close()


def rows_of(files: list[CounterFile], clock: Clock) -> Rows:
    rows = Rows(clock=clock, capacity=64)
    for file in files:
        rows.add(file)
    return rows


def count(file: CounterFile, row: int, *, times: int = 1, outcome: Count = Count.OK) -> None:
    counting = Counting(file)
    for _ in range(times):
        counting.begin(row)
        counting.end(row, outcome, seconds=0.010)


def test_an_invocation_is_counted_once_with_its_duration(files: list[CounterFile]) -> None:
    counting = Counting(files[0])
    counting.begin(3)
    assert files[0].in_flight(3) == 1
    counting.end(3, Count.STATUS, seconds=0.25, slow=True, cold=True)
    row = files[0].read(3)
    assert files[0].in_flight(3) == 0
    assert (row[Count.STATUS], row[Count.SLOW], row[Count.COLD], row[Count.MICROSECONDS]) == (1, 1, 1, 250_000)
    assert row[FIXED + bucket(0.25)] == 1
    assert sum(row[FIXED:]) == 1


def test_what_the_platform_failed_is_no_invocation_of_the_version(files: list[CounterFile]) -> None:
    counting = Counting(files[0])
    counting.begin(3)
    counting.end(3, Count.PLATFORM, seconds=9.0, cold=True)
    row = files[0].read(3)
    assert row[Count.PLATFORM] == 1
    assert sum(row) == 1


def test_a_file_is_read_by_whoever_has_it_open(files: list[CounterFile]) -> None:
    other = CounterFile(os.dup(files[0].fd), capacity=64)
    count(files[0], 1, times=3)
    Counting(files[0]).own(Own.RETRIES)
    assert other.read(1)[Count.OK] == 3
    assert other.own(Own.RETRIES) == 1
    other.close()


def test_the_workers_counts_are_summed(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    (row,) = rows.follow(table(alias({1: 100})), ["fn"])
    count(files[0], row.index, times=3)
    count(files[1], row.index, times=4)
    (told,) = rows.tell("fn")
    assert (told.alias, told.version, told.alias_revision, told.tally.invocations) == ("production", 1, 1, 7)


def test_each_alias_revision_has_a_row_of_its_own(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    (before,) = rows.follow(table(alias({1: 100}, revision=1)), ["fn"])
    after = rows.follow(table(alias({1: 90, 2: 10}, revision=2)), ["fn"])
    count(files[0], before.index, times=5)
    count(files[0], after[0].index, times=6)
    assert [(it.version, it.alias_revision, it.tally.invocations) for it in rows.tell("fn")] == [
        (1, 1, 5),
        (1, 2, 6),
        (2, 2, 0),
    ]


def test_an_owner_keeps_its_row(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    assert rows.grant(Owner("fn", "", 3, 0)) == rows.grant(Owner("fn", "", 3, 0))


def test_rows_of_versions_named_themselves_end_with_their_version(files: list[CounterFile]) -> None:
    clock = Clock()
    rows = rows_of(files, clock)
    made = table(version(3))
    row = rows.grant(Owner("fn", "", 3, 0))
    count(files[0], row.index, times=2)
    rows.follow(made, ["fn"])
    clock.now = KEEP_SECONDS
    rows.fold()
    assert rows.tell("fn")[0].alias_revision == 0
    rows.follow(made.apply(update(removed=[removed("versions", "3", revision=9)])), ["fn"])
    clock.now *= 2
    rows.fold()
    assert rows.grant(Owner("other", "", 1, 0)).index == row.index, "the row is free"
    assert rows.tell("fn")[0].tally.invocations == 2, "the counts are not lost"


def test_old_revisions_are_folded_and_nothing_is_lost(files: list[CounterFile]) -> None:
    clock = Clock()
    rows = rows_of(files, clock)
    made = Table()
    for revision in range(1, 200):
        made = made.apply(update(alias({1: 100}, revision=revision)))
        (row,) = rows.follow(made, ["fn"])
        count(files[revision % 2], row.index)
        rows.fold()
        assert rows.totals()["fn", "production", 1][0][Count.OK] == revision
    assert len(rows.used) <= KEEP_ROWS + 2
    folded = [told for told in rows.tell("fn") if told.alias_revision == FOLDED]
    assert sum(told.tally.invocations for told in rows.tell("fn")) == 199
    assert len(folded) == 1


def test_a_row_in_use_is_not_folded(files: list[CounterFile]) -> None:
    clock = Clock()
    rows = rows_of(files, clock)
    (row,) = rows.follow(table(alias({1: 100}, revision=1)), ["fn"])
    Counting(files[0]).begin(row.index)
    rows.follow(table(alias({1: 100}, revision=2)), ["fn"])
    clock.now = KEEP_SECONDS
    rows.fold()
    assert {told.alias_revision for told in rows.tell("fn")} == {1, 2}
    files[0].forget_in_flight(rows.used)
    rows.fold()
    assert {told.alias_revision for told in rows.tell("fn")} == {FOLDED, 2}


def test_when_half_of_the_rows_are_taken_the_oldest_are_freed_before_their_time(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    made = Table()
    names = [f"fn-{number}" for number in range(20)]
    for revision in range(1, 21):
        made = made.apply(update(*(alias({1: 100}, revision=revision, function=name) for name in names)))
        for row in rows.follow(made, names):
            count(files[0], row.index)
        rows.fold()
    assert len(rows.used) < 64
    assert {rows.totals()[name, "production", 1][0][Count.OK] for name in names} == {20}


def test_what_was_never_invoked_is_not_told_and_takes_no_memory(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    made = [rows.grant(Owner(f"fn-{number}", "", 1, 0)) for number in range(60)]
    count(files[1], made[50].index)
    assert list(files[0].written(rows.used)) == []
    assert made[50].index in files[1].written(rows.used)
    assert list(rows.totals()) == [("fn-50", "", 1)]


@given(st.lists(st.integers(0, 5), min_size=BUCKETS, max_size=BUCKETS))
def test_classic_buckets_are_cumulative_and_end_with_all(fine: list[int]) -> None:
    told = buckets(fine)
    counts = [count for _, count in told]
    assert counts == sorted(counts)
    assert counts[-1] == sum(fine)
    assert [bound for bound, _ in told][-1] == "+Inf"
    assert float(told[-2][0]) == pytest.approx(BOUNDARIES[-1], rel=1e-4)
