import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotswap.users import SLOTS, pick, place, slot
from router.split import Split, period, weighting


@st.composite
def weights(draw: st.DrawFn, *, versions: int | None = None) -> dict[int, int]:
    """Whole percents of 1 to 6 versions that add up to 100; some may be 0."""
    count = versions or draw(st.integers(1, 6))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=count - 1, max_size=count - 1)))
    shares = [after - before for before, after in zip([0, *cuts], [*cuts, 100], strict=True)]
    return dict(enumerate(shares, start=1))


@given(weights(), st.randoms(use_true_random=False), st.integers(1, 350))
def test_count_is_never_a_whole_pick_from_its_due(weights: dict[int, int], rng: random.Random, picks: int) -> None:
    split = Split(weights, rng)
    had: Counter[int] = Counter()
    for n in range(1, picks + 1):
        had[split.pick()] += 1
        for version, weight in weights.items():
            assert abs(100 * had[version] - n * weight) < 100


@given(st.data(), st.randoms(use_true_random=False))
def test_bound_holds_again_from_each_change_on(data: st.DataObject, rng: random.Random) -> None:
    split = Split(data.draw(weights(versions=4)), rng)
    for _ in range(5):
        now = data.draw(weights(versions=4))
        split.change(now)
        had: Counter[int] = Counter()
        for n in range(1, data.draw(st.integers(1, 40)) + 1):
            had[split.pick()] += 1
            assert all(abs(100 * had[version] - n * weight) < 100 for version, weight in now.items())


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 7)), min_size=1, max_size=30), st.randoms())
def test_two_versions_are_never_a_pick_from_their_due_over_any_changes(
    changes: list[tuple[int, int]], rng: random.Random
) -> None:
    split = Split({1: 50, 2: 50}, rng)
    due = had = 0
    for canary, picks in changes:
        split.change({1: 100 - canary, 2: canary})
        for _ in range(picks):
            had += split.pick() == 2
            due += canary
            assert abs(100 * had - due) < 100


@given(weights(), weights(), st.randoms(use_true_random=False))
def test_a_version_without_weight_is_never_picked(
    before: dict[int, int], after: dict[int, int], rng: random.Random
) -> None:
    split = Split(before, rng)
    split.change(after)
    assert {split.pick() for _ in range(100)} == {version for version, weight in after.items() if weight}


def test_a_small_canary_gets_its_share_though_weights_change_all_the_time() -> None:
    split = Split({1: 90, 2: 10}, random.Random(7))
    had = 0
    for _ in range(100):
        split.change({1: 90, 2: 10})
        had += sum(split.pick() == 2 for _ in range(3))
    assert had in {29, 30, 31}


def test_workers_begin_at_different_places() -> None:
    firsts = Counter(Split({1: 50, 2: 50}, random.Random(seed)).pick() for seed in range(200))
    assert 60 < firsts[1] < 140


@given(weights())
def test_a_period_is_no_longer_than_it_must_be(weights: dict[int, int]) -> None:
    picks = period(weighting(weights)).picks
    assert len(picks) <= 100
    assert {version: 100 * count for version, count in Counter(picks).items()} == {
        version: weight * len(picks) for version, weight in weights.items() if weight
    }


@pytest.mark.parametrize("share", [0, 1, 10, 50, 99, 100])
def test_a_canary_has_exactly_its_share_of_the_slots(share: int) -> None:
    picks = Counter(pick({5: 100 - share, 6: share}, at, stable=5) for at in range(SLOTS))
    assert picks[6] == share * 100


def test_who_has_seen_the_canary_keeps_it_while_its_weight_grows() -> None:
    seen = [at for at in range(SLOTS) if pick({5: 90, 6: 10}, at, stable=5) == 6]
    assert all(pick({5: 50, 6: 50}, at, stable=5) == 6 for at in seen)


KEYS = [slot(place(f"user-{n}", salt="a deployment")) for n in range(10_000)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=2, max_size=8).map(sorted))
def test_while_a_canary_grows_nobody_goes_back_and_no_more_move_than_must(shares: list[int]) -> None:
    before = [pick({5: 100 - shares[0], 6: shares[0]}, at, stable=5) for at in KEYS]
    for share, more in pairwise(shares):
        after = [pick({5: 100 - more, 6: more}, at, stable=5) for at in KEYS]
        moved = [at for at, was, now in zip(KEYS, before, after, strict=True) if was != now]
        assert all(now == 6 for was, now in zip(before, after, strict=True) if was == 6)
        assert moved == [at for at in KEYS if share * 100 <= at < more * 100], "those of the slots that change hands"
        before = after


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.sampled_from([1, 2]))
def test_of_two_versions_as_many_slots_move_as_weight_does_and_no_more(before: int, after: int, stable: int) -> None:
    was, now = ({1: 100 - share, 2: share} for share in (before, after))
    moved = sum(pick(was, at, stable=stable) != pick(now, at, stable=stable) for at in range(SLOTS))
    assert moved == abs(before - after) * SLOTS // 100


def test_without_a_last_good_version_the_oldest_is_the_stable_one() -> None:
    assert pick({5: 90, 6: 10}, 0, stable=None) == 6
    assert pick({5: 90, 6: 10}, SLOTS - 1, stable=3) == 5


def test_keys_spread_over_the_slots_and_another_salt_spreads_them_otherwise() -> None:
    low = sum(slot(place(f"user-{n}", salt="a")) < SLOTS // 10 for n in range(10_000))
    assert 850 < low < 1150
    moved = sum(slot(place(f"user-{n}", salt="a")) != slot(place(f"user-{n}", salt="b")) for n in range(1_000))
    assert moved > 990
