"""What functions report, from the field of an answer to the sums over workers, and the sheets that it is counted in."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.metrics import Count
from hotswap.usage import MOST_NAMES
from hotswap.users import GROUP_CELLS
from router.codec.reports import MOST_REPORTS, Reports, read_reports
from router.codec.responses import read_head
from router.counters import CounterFile, Counting
from router.rows import KEEP_SECONDS, Rows
from router.table import Table
from router.usage import NO_CELL
from tests.router_entries import alias, table, update

BOUGHT = Reports(((b"conversion", 1.0), (b"revenue", 12.5)))


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


@pytest.mark.parametrize(
    ("fields", "values", "malformed"),
    [
        ([b"conversion=1, revenue=12.5"], ((b"conversion", 1.0), (b"revenue", 12.5)), 0),
        ([b"a=1", b"b=-2e-3,,\t c=+.5"], ((b"a", 1.0), (b"b", -0.002)), 1),
        ([b""], (), 0),
        ([b"a=1;b=2", b"a", b"=1", b"a=", b"a=nan", b"a=inf", b"a=1e99", b"a b=1", b"1a=1", b"a=0x1"], (), 10),
        ([b"%b=1" % (b"n" * 32), b"%b=1" % (b"n" * 33)], ((b"n" * 32, 1.0),), 1),
        ([b",".join([b"a=1"] * (MOST_REPORTS + 3))], ((b"a", 1.0),) * MOST_REPORTS, 3),
    ],
)
def test_reports_are_names_with_numbers_and_all_else_is_counted_as_malformed(
    fields: list[bytes], values: tuple[tuple[bytes, float], ...], malformed: int
) -> None:
    assert read_reports(fields) == Reports(values, malformed)


@given(st.binary(max_size=60))
def test_whatever_is_reported_the_head_is_read_as_it_would_be_without(value: bytes) -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + value
    try:
        read_head(plain)
    except ValueError:
        return
    head = read_head(plain.replace(b"X: ", b"Hotswap-Metric: "))
    assert head.reports is not None
    assert b"hotswap-metric" not in head.lines.lower()


def test_an_answer_that_reports_is_decided_upon_and_one_that_does_not_is_as_usual() -> None:
    dated = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2"
    assert (read_head(dated).usual, read_head(dated).reports) == (True, None)
    assert not read_head(dated + b"\r\nHotswap-Metric: a=1").usual


def test_reports_are_summed_with_their_squares_over_workers(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    (row,) = rows.follow(table(alias({1: 100})), ["fn"])
    Counting(files[0]).report(row.index, NO_CELL, BOUGHT)
    Counting(files[1]).report(row.index, NO_CELL, Reports(((b"revenue", 2.0),), malformed=3))
    (told,) = rows.tell("fn")
    assert told.usage is not None
    revenue = told.usage.reported["revenue"]
    assert (revenue.count, revenue.sum, revenue.squares, revenue.sums) == (2, 14.5, 160.25, {})
    assert (told.usage.reported["conversion"].count, told.usage.malformed) == (1, 3)


def test_users_are_counted_by_their_group_and_once_each(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    (row,) = rows.follow(table(alias({1: 100})), ["fn"])
    for file, cell, outcome in (
        (files[0], 5, Count.OK),
        (files[0], 5, Count.STATUS),
        (files[1], 5, Count.CLIENT_ERROR),
        (files[1], GROUP_CELLS + 63, Count.TIMEOUT),
        (files[1], 7, Count.PLATFORM),
    ):
        Counting(file).user(row.index, cell, outcome, seconds=0.25)
    Counting(files[0]).report(row.index, 5, BOUGHT)
    (told,) = rows.tell("fn")
    assert told.usage is not None
    assert told.usage.cells[:3] == [1, 1, 0]
    assert (told.usage.invocations[:2], told.usage.errors[:2]) == ([3, 1], [1, 1])
    assert told.usage.microseconds[:2] == [750_000, 250_000]
    assert sum(told.usage.reported["conversion"].users_by_group) == pytest.approx(1.0, rel=0.01)
    assert (told.usage.reported["revenue"].sums, told.usage.reported["revenue"].counts) == ({0: 12.5}, {0: 1})


def test_more_names_than_are_kept_are_counted_as_such(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    (row,) = rows.follow(table(alias({1: 100})), ["fn"])
    counting = Counting(files[0])
    for n in range(MOST_NAMES + 2):
        counting.report(row.index, NO_CELL, Reports(((b"name-%d" % n, 1.0),)))
    (told,) = rows.tell("fn")
    assert told.usage is not None
    assert (len(told.usage.reported), told.usage.crowded) == (MOST_NAMES, 2)


def test_a_worker_goes_on_with_the_sheet_of_the_one_before(files: list[CounterFile]) -> None:
    Counting(files[0]).report(3, NO_CELL, BOUGHT)
    again = CounterFile(os.dup(files[0].fd), capacity=64)
    Counting(again).report(3, NO_CELL, BOUGHT)
    assert again.sheets.read(3).reported["revenue"].sum == 25.0
    again.close()


def test_without_users_or_reports_there_is_no_sheet_and_it_takes_no_memory(files: list[CounterFile]) -> None:
    rows = rows_of(files, Clock())
    (row,) = rows.follow(table(alias({1: 100})), ["fn"])
    counting = Counting(files[0])
    counting.begin(row.index)
    counting.end(row.index, Count.OK, seconds=0.01)
    assert rows.tell("fn")[0].usage is None
    assert rows.reported() == {}
    assert list(files[0].written_sheets(rows.used)) == []


def test_what_was_reported_outlives_its_row_and_the_next_owner_finds_nothing_of_it(files: list[CounterFile]) -> None:
    clock, made = Clock(), Table()
    rows = rows_of(files, clock)
    used = set()
    for revision in range(1, 30):
        made = made.apply(update(alias({1: 100}, revision=revision)))
        (row,) = rows.follow(made, ["fn"])
        used.add(row.index)
        Counting(files[revision % 2]).report(row.index, 9, BOUGHT)
        (told,) = [one for one in rows.tell("fn") if one.alias_revision == revision]
        assert told.usage is not None
        assert told.usage.reported["conversion"].count == 1
        assert rows.reported()["fn", "production", 1].reported["revenue"].sum == revision * 12.5
        clock.now += KEEP_SECONDS
        rows.fold()
    assert len(used) < 5, "rows were used again"
