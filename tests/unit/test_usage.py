"""What is counted by user and of reports: how users are told apart, how many they are, and how parts add up."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.model import decode, encode
from hotswap.request_id import Origin, cell_mark, mark, origin
from hotswap.usage import MOST_VALUE, VALUES, Reported, Usage, value_bounds, value_bucket
from hotswap.users import CELLS, GROUP_CELLS, SLOTS, cell, place, slot


def seen(cells: set[int]) -> Usage:
    bits = sum(1 << one for one in cells)
    return Usage(users=bits.to_bytes(CELLS // 8, "little"))


@pytest.mark.parametrize(("users", "off"), [(100, 0.01), (5_000, 0.02), (60_000, 0.02), (300_000, 0.05)])
def test_how_many_users_there_are_is_estimated_by_the_cells_that_they_fill(users: int, off: float) -> None:
    random = Random(users)
    usage = seen({random.randrange(CELLS) for _ in range(users)})
    assert usage.user_count == pytest.approx(users, rel=off)
    assert sum(usage.users_by_group) == pytest.approx(users, rel=off)


def test_when_every_cell_is_filled_the_estimate_ends() -> None:
    full = Usage(users=b"\xff" * (CELLS // 8))
    assert full.user_count == pytest.approx(CELLS * 11.78, rel=0.01)
    assert Usage().user_count == 0


def test_a_user_is_in_the_group_of_the_cell() -> None:
    assert seen({0, 1, GROUP_CELLS, CELLS - 1}).cells == [2, 1, *[0] * 125, 1]


def test_who_was_seen_in_two_places_is_one_user() -> None:
    total = Usage.total([seen({1, 2}), seen({2, 3}), Usage()])
    assert sum(total.cells) == 3
    assert Usage.total([]) == Usage()


def test_who_did_something_twice_is_one_user_who_did_it() -> None:
    twice = Reported.total([Reported.one(1.0, cell=7), Reported.one(1.0, cell=7), Reported.one(0.0, cell=8)])
    assert twice.count == 3
    assert sum(twice.users_by_group) == pytest.approx(1.0, rel=0.01)


def test_parts_add_up() -> None:
    one = Usage(invocations=[1, 2], errors=[0, 1], reported={"a": Reported.one(2.0, cell=3 * GROUP_CELLS)}, malformed=1)
    two = Usage(
        invocations=[3, 4],
        reported={"a": Reported.one(-1.0, cell=3 * GROUP_CELLS), "b": Reported.one(0.5, cell=4 * GROUP_CELLS + 9)},
    )
    total = Usage.total([one, two])
    assert (total.invocations, total.errors, total.malformed) == ([4, 6], [0, 1], 1)
    assert total.reported["a"] == Reported(
        count=2,
        sum=1.0,
        squares=5.0,
        sums={3: 1.0},
        counts={3: 2},
        who={3: b"\1".ljust(GROUP_CELLS // 8, b"\0")},
        values={value_bucket(2.0): 1, 0: 1},
    )
    assert total.reported["b"] == two.reported["b"]
    assert decode(encode(total), Usage, where="here") == total


@given(st.floats(-MOST_VALUE, MOST_VALUE))
def test_every_value_lies_within_the_bounds_of_its_bucket(value: float) -> None:
    low, high = value_bounds()[value_bucket(value)]
    assert low * (1 - 1e-12) <= max(value, 0.0) <= high * (1 + 1e-12)
    assert len(value_bounds()) == VALUES


def test_in_which_cell_a_user_is_says_nothing_of_the_slot() -> None:
    places = [place(f"user-{n}", salt="s") for n in range(20_000)]
    among = [cell(one) for one in places if slot(one) < SLOTS // 10]
    assert sum(one < CELLS // 2 for one in among) == pytest.approx(len(among) / 2, rel=0.1)


@given(
    version=st.integers(1, 999_999_999),
    revision=st.integers(1, 2**62),
    at=st.none() | st.integers(0, CELLS - 1),
    before=st.text(max_size=20),
)
def test_an_id_tells_where_its_invocation_went(version: int, revision: int, at: int | None, before: str) -> None:
    made = before + (mark(version, revision) + (b"" if at is None else cell_mark(at))).decode()
    assert origin(made) == Origin(version, revision, at)


@pytest.mark.parametrize("chosen", ["", "abc-1", "2f6be1", "x-0.7", "x-6.", "x-6.7.0a3", "x-6.7.0a3c-", "x-6.7.8.0a3c"])
def test_an_id_that_its_sender_chose_tells_nothing(chosen: str) -> None:
    assert origin(chosen) is None
