import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.balance import EJECTION_SECONDS, FAILURES_TO_EJECT, STANDBY_SECONDS, Group, Load, RetryBudget, share
from tests.router_entries import endpoint


def group(count: int, *, limit: int = 10, seed: int = 1) -> tuple[Group, list[Load]]:
    loads = [Load(endpoint(f"i{n}", port=9000 + n), limit=limit) for n in range(count)]
    made = Group(random.Random(seed))
    made.replace(loads)
    return made, loads


def fail(group: Group, load: Load, *, now: float, times: int = FAILURES_TO_EJECT) -> bool:
    for _ in range(times):
        load.in_flight += 1
        ejected = group.failed(load, now)
    return ejected


def test_none_is_picked_of_none() -> None:
    assert group(0)[0].pick(0.0) is None


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 60))
def test_an_endpoint_never_has_more_in_flight_than_its_limit(count: int, limit: int, picks: int) -> None:
    made, loads = group(count, limit=limit)
    picked = [made.pick(0.0) for _ in range(picks)]
    assert all(load.in_flight <= limit for load in loads)
    assert sum(it is not None for it in picked) == min(picks, count * limit)


def test_the_faster_endpoint_takes_more() -> None:
    made, (fast, slow) = group(2, limit=1_000)
    taken: Counter[str] = Counter()
    now = 0.0
    for _ in range(200):
        now += 0.01
        load = made.pick(now)
        assert load is not None
        taken[load.entry.instance] += 1
        made.done(load, now, latency=0.5 if load is slow else 0.01)
    assert taken[fast.entry.instance] > 4 * taken[slow.entry.instance]


def test_a_rise_in_latency_counts_at_once_and_is_forgotten_slowly() -> None:
    load = Load(endpoint("i"), limit=1)
    load.measure(0.1, 0.0)
    load.measure(2.0, 0.0)
    assert load.latency == 2.0
    load.measure(0.1, 1.0)
    assert 1.5 < load.latency < 2.0
    load.measure(0.1, 60.0)
    assert load.latency < 0.11


def test_what_was_tried_in_vain_is_avoided() -> None:
    made, (first, second) = group(2)
    assert all(made.pick(0.0, avoid={first}) is second for _ in range(5))


def test_five_failures_in_a_row_eject_and_a_success_between_them_does_not() -> None:
    made, loads = group(10)
    fail(made, loads[0], now=0.0, times=4)
    loads[0].in_flight += 1
    made.done(loads[0], 0.0, latency=0.1)
    assert not fail(made, loads[0], now=0.0, times=4)
    assert fail(made, loads[0], now=0.0, times=1)
    picked = {made.pick(1.0) for _ in range(60)}
    assert loads[0] not in picked
    assert len(picked - {None}) == 9


def test_one_probe_brings_it_back() -> None:
    made, (bad, good) = group(2, limit=1)
    fail(made, bad, now=0.0)
    good.in_flight = 1
    later = EJECTION_SECONDS + 1
    assert made.pick(later) is bad
    bad.limit = 2
    assert made.pick(later) is None, "one probe at a time"
    made.done(bad, later, latency=0.1)
    assert made.pick(later) is bad
    assert made.pick(later) is bad


def test_a_failed_probe_ejects_for_longer() -> None:
    made, (bad, good) = group(2, limit=1)
    fail(made, bad, now=0.0)
    good.in_flight = 1
    probe = made.pick(31.0)
    assert probe is bad
    assert made.failed(bad, 31.0)
    assert made.pick(31.0 + EJECTION_SECONDS + 1) is None
    assert made.pick(31.0 + 2 * EJECTION_SECONDS + 1) is bad


def test_a_probe_whose_caller_went_away_is_followed_by_another() -> None:
    made, (bad, good) = group(2, limit=1)
    fail(made, bad, now=0.0)
    good.in_flight = 1
    probe = made.pick(31.0)
    assert probe is bad
    made.release(bad)
    assert made.pick(31.0) is bad


@pytest.mark.parametrize(("count", "most"), [(2, 1), (10, 1), (30, 3)])
def test_at_most_a_tenth_is_ejected_but_always_one_may_be(count: int, most: int) -> None:
    made, loads = group(count)
    assert sum(fail(made, load, now=0.0) for load in loads) == most


def test_with_fewer_than_half_healthy_all_are_used() -> None:
    made, (only,) = group(1)
    fail(made, only, now=0.0)
    assert made.pick(1.0) is only


def test_an_endpoint_that_stays_keeps_what_is_known_of_it() -> None:
    made, loads = group(2)
    loads[0].in_flight = 3
    made.replace([loads[0]])
    assert made.pick(0.0) is loads[0]
    assert loads[0].in_flight == 4


def test_workers_share_the_concurrency() -> None:
    assert [share(16, 2), share(1, 4), share(5, 2)] == [8, 1, 3]


def test_a_fifth_of_the_requests_may_be_retried() -> None:
    budget = RetryBudget()
    while budget.spend():
        pass
    retried = 0
    for _ in range(1_000):
        budget.earn()
        retried += budget.spend()
    assert 199 <= retried <= 200


def partly_asleep(awake: int, asleep: int, *, limit: int = 2, seed: int = 1) -> tuple[Group, list[Load], list[Load]]:
    """The standby ones in the order in which they are woken."""
    loads = [Load(endpoint(f"n-{n}a", port=9000 + n), limit=limit) for n in range(awake)]
    standby = [Load(endpoint(f"n-{n}", port=9100 + n, standby=True), limit=limit) for n in range(asleep)]
    made = Group(random.Random(seed))
    made.replace([*standby[::-1], *loads])
    return made, loads, standby


@given(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3), st.integers(1, 40))
def test_a_standby_is_woken_only_when_all_others_are_full_and_the_next_when_that_is(
    awake: int, asleep: int, limit: int, picks: int
) -> None:
    made, loads, standby = partly_asleep(awake, asleep, limit=limit)
    picked = [made.pick(0.0) for _ in range(picks)]
    room = awake * limit
    assert all(it in loads for it in picked[:room])
    expected = [load for load in standby for _ in range(limit)]
    assert picked[room:] == (expected + [None] * picks)[: max(0, picks - room)]


def test_a_standby_that_has_answered_is_one_of_the_others() -> None:
    made, (), (one, _) = partly_asleep(0, 2, limit=1)
    assert made.pick(0.0) is one
    made.done(one, 3.0, latency=3.0)
    assert not one.standby
    assert one.latency == 0.0, "how long its start took tells nothing of the next answers"
    assert made.pick(3.0) is one


def test_a_standby_that_fails_is_left_alone_for_a_moment_and_the_next_one_is_woken() -> None:
    made, (), (one, other) = partly_asleep(0, 2)
    assert made.pick(0.0) is one
    made.failed(one, 0.0)
    assert made.pick(0.1) is other
    made.failed(other, 0.1)
    assert made.pick(0.2) is None
    assert made.pick(STANDBY_SECONDS) is one


def test_a_standby_takes_over_from_those_that_are_ejected() -> None:
    made, loads, (standby, *_) = partly_asleep(2, 1, limit=1)
    fail(made, loads[0], now=0.0)
    loads[1].in_flight = 1
    assert made.pick(1.0) is standby


def test_what_was_tried_in_vain_is_not_woken_again() -> None:
    made, (), (one, other) = partly_asleep(0, 2)
    assert made.pick(0.0, avoid={one}) is other
    assert made.pick(0.0, avoid={one, other}) is None
