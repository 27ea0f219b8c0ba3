"""A/B tests of known tallies: what each metric says, who wins, and why nobody does."""

from collections.abc import Mapping
from itertools import pairwise
from math import exp, inf, log, sqrt
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy import special

from hotswap.comparison import Comparison, Standing, decision, headings, rows
from hotswap.judge.compare import compare
from hotswap.judge.measures import Seen
from hotswap.judge.sample_ratio import ALARM, mismatch, thinned
from hotswap.judge.sequence import Contrast, half_width, p_value
from hotswap.metric import Direction, Metric, Statistic
from hotswap.metrics import FIXED, Count, Tally, bucket
from hotswap.usage import Reported, value_bucket
from hotswap.users import CELLS, GROUPS
from tests.crowd import by_group, crowd, taken, thrown, who

METRICS = ["responseTime", "errorRate"]


def seen(users: int, *, seconds: float = 0.1, errors: int = 0, bought: int | None = None) -> Seen:
    """Users who came once each and were answered in about `seconds`, give or take a half; `bought` of them reported 1,
    the others 0."""
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.STATUS] = users - errors, errors
    counts[Count.MICROSECONDS] = round(users * seconds * 1e6)
    for each in (seconds * 0.5, seconds * 1.5):
        counts[FIXED + bucket(each)] += users // 2
    return Seen(
        Tally(counts=counts),
        replace(
            crowd(users, errors=errors),
            microseconds=by_group(users * seconds * 1e6, seconds * 5e5 * sqrt(users / GROUPS)),
            reported={} if bought is None else {"conversion": conversions(users, bought)},
        ),
    )


def conversions(users: int, bought: int) -> Reported:
    return Reported(
        count=users,
        sum=bought,
        squares=bought,
        sums=dict(enumerate(thrown(bought))),
        counts=dict(enumerate(thrown(users))),
        who=who(bought),
        values={0: users - bought, value_bucket(1.0): bought},
    )


def compared(versions: Mapping[int, Seen], **given: Any) -> Comparison:
    even = {version: 100 // len(versions) for version in versions}
    options: dict[str, Any] = {"metrics": METRICS, "planned": 20_000, "weights": even, "complete": True}
    return compare(versions, **(options | given))


def standings(comparison: Comparison, metric: str) -> dict[int, Standing]:
    return next(one.standings for one in comparison.metrics if one.metric == metric)


FASTER = {1: seen(10_000, seconds=0.145, errors=20), 2: seen(10_000, seconds=0.132, errors=20)}


def test_a_version_that_is_faster_and_no_worse_wins() -> None:
    found = compared(FASTER)
    assert standings(found, "responseTime") == {1: Standing.LOSE, 2: Standing.WIN}
    assert standings(found, "errorRate") == {1: Standing.INSUFFICIENT, 2: Standing.INSUFFICIENT}
    assert (found.winner, found.withheld, found.unit) == (2, [], "user")
    assert decision(found) == "Promote v2 (wins 1/2 metrics, loses none)"


def test_the_table_is_the_guides() -> None:
    found = compared(FASTER, metrics=[*METRICS, "conversionRate"])
    assert headings(found) == [
        "Metric", "Version A (v1)", "Version B (v2)", "Winner", "Difference", "95 % interval", "Confidence",
    ]  # fmt: skip
    time, errors, conversion = rows(found)
    assert time[:5] == ["Avg Response Time", "145 ms", "132 ms", "v2 ✓", "-13 ms"]
    assert time[6] == "over 99.99 %"
    assert errors[:5] == ["Error Rate", "0.2 %", "0.2 %", "not enough data", "+0 pp"]
    assert conversion == ["conversionRate", "", "", "not measured", "", "", ""]


def test_a_comparison_can_be_stored() -> None:
    found = compared(FASTER, weights={1: 100, 2: 0})
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found


def test_faster_and_more_often_wrong_is_no_winner() -> None:
    found = compared({1: seen(10_000, seconds=0.145, errors=20), 2: seen(10_000, seconds=0.132, errors=300)})
    assert found.winner is None
    assert decision(found) == (
        "No winner: v1 is better in errorRate and worse in responseTime; "
        "v2 is better in responseTime and worse in errorRate"
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"complete": False}, "the test has not run its time"),
        ({"weights": {1: 40, 2: 60}}, "the users are not split as the weights say: something keeps those of one "
         "version away"),
    ],
)  # fmt: skip
def test_a_winner_is_withheld_with_the_reason(given: dict[str, Any], reason: str) -> None:
    found = compared(FASTER, **given)
    assert (found.winner, found.withheld) == (None, [reason])
    assert standings(found, "responseTime")[2] is Standing.WIN


def test_an_arm_of_fewer_than_a_hundred_wins_and_loses_nothing() -> None:
    found = compared({1: seen(99, seconds=10), 2: seen(10_000)})
    assert standings(found, "responseTime") == {1: Standing.INSUFFICIENT, 2: Standing.INSUFFICIENT}
    assert found.winner is None
    assert "v1 has 99 users, 100 are needed" in found.withheld


def test_a_version_without_traffic_has_no_figures() -> None:
    found = compared({1: seen(0), 2: seen(500)})
    assert [one.values.keys() for one in found.metrics] == [{2}, {2}]
    assert [one.differences for one in found.metrics] == [[], []]
    assert rows(found)[0][1:4] == ["", "100 ms", "not enough data"]


def test_one_version_alone_wins_nothing() -> None:
    assert compared({1: seen(500)}).winner is None


def test_nothing_counted_at_all_is_insufficient() -> None:
    found = compared({1: seen(0), 2: seen(0)})
    assert found.winner is None
    assert rows(found)[1][1:4] == ["", "", "not enough data"]


def test_versions_that_differ_by_less_than_matters_are_equivalent_however_sure_that_is() -> None:
    found = compared({1: seen(10_000_000, seconds=0.1), 2: seen(10_000_000, seconds=0.099)}, planned=20_000_000)
    assert found.metrics[0].differences[0].confidence > 0.99
    assert standings(found, "responseTime") == {1: Standing.EQUIVALENT, 2: Standing.EQUIVALENT}
    assert found.winner is None


def test_no_errors_yet_is_no_certainty() -> None:
    found = compared({1: seen(150), 2: seen(150)})
    assert standings(found, "errorRate") == {1: Standing.INSUFFICIENT, 2: Standing.INSUFFICIENT}


def test_what_functions_report_is_compared_under_the_names_of_the_guide() -> None:
    found = compared(
        {1: seen(20_000, bought=500), 2: seen(20_000, bought=700)}, metrics=["conversionRate", "userEngagement"]
    )
    assert standings(found, "conversionRate") == {1: Standing.LOSE, 2: Standing.WIN}
    assert rows(found)[0][:4] == ["Conversion Rate", "2.5 %", "3.5 %", "v2 ✓"]
    assert found.not_measured == ["userEngagement"]
    assert found.winner == 2


def test_nobody_who_bought_yet_is_no_certainty() -> None:
    found = compared({1: seen(1000, bought=0), 2: seen(1000, bought=3)}, metrics=["conversionRate"])
    assert found.metrics[0].values == pytest.approx({1: 0.0, 2: 0.003}, abs=1e-4)
    assert standings(found, "conversionRate") == {1: Standing.INSUFFICIENT, 2: Standing.INSUFFICIENT}


def test_users_who_come_often_are_no_more_users() -> None:
    """The same sums of the same groups, by a tenth of the users: the interval is not narrower for all the visits."""
    often = {version: Seen(one.tally, replace(one.usage, users=taken(1000).users)) for version, one in FASTER.items()}
    seldom = compared(FASTER, planned=20_000).metrics[0].differences[0]
    regulars = compared(often, planned=2_000).metrics[0].differences[0]
    assert regulars.high - regulars.low == pytest.approx(seldom.high - seldom.low, rel=0.02)


def test_a_metric_that_is_declared_is_compared_by_its_kind() -> None:
    declarations = {
        "perVisit": Metric(kind=Statistic.RATIO, of="conversion", direction=Direction.LOWER),
        "purchases": Metric(kind=Statistic.MEAN, of="conversion", direction=Direction.HIGHER, title="Purchases"),
        "whole": Metric(kind=Statistic.RATIO, of="conversion", per="conversion", direction=Direction.HIGHER),
        "slowest": Metric(kind=Statistic.QUANTILE, of="responseTime", quantile=0.99, direction=Direction.LOWER),
        "unheard": Metric(kind=Statistic.QUANTILE, quantile=0.5, direction=Direction.LOWER),
    }
    found = compared(
        {1: seen(20_000, bought=500, seconds=0.2), 2: seen(20_000, bought=700, seconds=0.1)},
        metrics=list(declarations),
        declarations=declarations,
    )
    assert standings(found, "perVisit") == {1: Standing.WIN, 2: Standing.LOSE}
    assert standings(found, "purchases") == {1: Standing.LOSE, 2: Standing.WIN}
    assert standings(found, "whole") == {1: Standing.EQUIVALENT, 2: Standing.EQUIVALENT}
    assert standings(found, "slowest") == {1: Standing.LOSE, 2: Standing.WIN}
    assert found.not_measured == ["unheard"]
    assert rows(found)[0][:3] == ["perVisit", "0.025", "0.035"]
    assert rows(found)[1][0] == "Purchases"
    slowest = next(one for one in found.metrics if one.metric == "slowest")
    assert slowest.values == pytest.approx({1: 300, 2: 150}, rel=0.05)
    (between,) = slowest.differences
    assert between.low < -150 < between.high < 0


def test_only_a_primary_metric_makes_a_winner() -> None:
    assert compared(FASTER, primary=["responseTime"]).winner == 2
    assert compared(FASTER, primary=["errorRate"]).winner is None


def test_more_primaries_ask_for_more_confidence() -> None:
    tallies = next(
        each
        for errors in range(100, 400)
        if 0.95 <= compared(each := {1: seen(10_000, errors=errors), 2: seen(10_000, errors=100)})
        .metrics[1].differences[0].confidence < 0.975
    )  # fmt: skip
    assert compared(tallies, primary=["errorRate"]).winner == 2
    assert compared(tallies).winner is None


def test_of_three_versions_the_winner_beats_both_others() -> None:
    found = compared({1: seen(10_000), 2: seen(10_000, seconds=0.09), 3: seen(10_000, seconds=0.08)})
    assert standings(found, "responseTime") == {1: Standing.LOSE, 2: Standing.LOSE, 3: Standing.WIN}
    assert found.winner == 3
    assert rows(found)[0][5].splitlines() == ["v2 - v1: -10 ms", "v3 - v1: -20 ms", "v3 - v2: -10 ms"]


@given(
    invocations=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
    errors=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
)
def test_it_is_the_same_whichever_version_is_called_a(invocations: tuple[int, int], errors: tuple[int, int]) -> None:
    one, two = (seen(n, errors=min(n, k)) for n, k in zip(invocations, errors, strict=True))
    there, back = compared({1: one, 2: two}), compared({2: two, 1: one})
    assert there.winner == back.winner
    assert standings(there, "errorRate") == standings(back, "errorRate")


@given(units=st.integers(1, 10**6), planned=st.integers(1, 10**6), off=st.floats(0.5, 6))
def test_the_interval_excludes_0_exactly_where_p_is_under_5_percent(units: int, planned: int, off: float) -> None:
    seen = Contrast(off, 1.0, units)
    reach, p = half_width(seen, planned=planned), p_value(seen, planned=planned)
    assume(abs(reach - off) > 1e-9)
    assert (reach < off) == (p < 0.05)


@given(units=st.integers(1, 10**6), planned=st.integers(1, 10**6))
def test_the_interval_is_the_formula(units: int, planned: int) -> None:
    rho = sqrt((-2 * log(0.05) + log(-2 * log(0.05) + 1)) / planned)
    scale = units * rho**2 + 1
    expected = 0.3 * sqrt(units) * sqrt(2 * scale / (units * rho) ** 2 * log(sqrt(scale) / 0.05))
    assert half_width(Contrast(1.0, 0.3, units), planned=planned) == pytest.approx(expected)


@given(c=st.integers(0, 5000), rest=st.integers(0, 5000), weight=st.integers(1, 99))
def test_the_evidence_of_a_mismatch_is_the_formula(c: int, rest: int, weight: int) -> None:
    share = weight / 100
    prior = special.betaln(100 * share, 100 * (1 - share))
    expected = special.betaln(100 * share + c, 100 * (1 - share) + rest) - prior
    expected -= c * log(share) + rest * log(1 - share)
    assert mismatch({1: c, 2: rest}, {1: weight, 2: 100 - weight}) == pytest.approx(expected, abs=1e-6)


@given(users=st.floats(1, 800_000))
def test_users_are_thinned_by_how_little_their_number_is_known(users: float) -> None:
    fill = users / CELLS
    doubt = CELLS * (exp(fill) - fill - 1)
    counted = thinned({1: users, 2: users / 2})
    assert counted[1] == pytest.approx(users**2 / (users + doubt), rel=1e-6)
    assert counted[2] == pytest.approx(counted[1] / 2)


def test_a_split_as_weighed_is_no_mismatch_and_a_skewed_one_is() -> None:
    assert mismatch({1: 5000, 2: 5000}, {1: 50, 2: 50}) < 0
    assert mismatch({1: 3300, 2: 3300, 3: 3400}, {1: 33, 2: 33, 3: 34}) < 0
    assert mismatch({1: 5000, 2: 4500}, {1: 50, 2: 50}) > ALARM
    assert mismatch({1: 10, 2: 1}, {1: 100, 2: 0}) == inf
    assert mismatch({1: 0, 2: 0}, {1: 50, 2: 50}) == 0


def test_of_an_even_split_of_any_size_the_evidence_never_grows() -> None:
    evidence = [mismatch({1: n, 2: n}, {1: 50, 2: 50}) for n in (10, 100, 1000, 10_000, 1_000_000)]
    assert all(earlier > later for earlier, later in pairwise(evidence))
