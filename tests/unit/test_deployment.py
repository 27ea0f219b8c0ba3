"""A deployment as it is stored comes back as it was, and knows which of its steps count."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from hotswap.deployment import (
    AnyStep,
    Ask,
    AwaitPromotion,
    Bake,
    Deployment,
    Event,
    Keep,
    Progress,
    Retire,
    Shift,
    Start,
    Status,
    Test,
    Verb,
)
from hotswap.errors import Invalid
from hotswap.judge.verdict import Outcome, Verdict
from hotswap.model import Sticky, decode, encode
from hotswap.requests import AllAtOnce, AnyRequest, BlueGreen, Canary, CanaryConfig, Limits, Rolling, RollingConfig
from hotswap.suite import Suite

NOW = datetime(2025, 11, 23, 10, tzinfo=UTC)

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.datetimes(timezones=st.just(UTC))
DURATIONS = st.timedeltas(timedelta(), timedelta(days=30))
VERSIONS = st.integers(1, 999_999_999)
WEIGHTS = st.dictionaries(VERSIONS, st.integers(0, 100), max_size=3)
STICKY = Sticky(by="cookie:user", salt="d-1")
RATES = st.none() | st.floats(0, 1)
LIMITS = st.builds(
    Limits,
    rollback_on_error_rate=RATES,
    rollback_on_latency_p99=st.none() | st.floats(1, 1e6),
    rollback_on_success_rate=RATES,
)
STEPS: st.SearchStrategy[AnyStep] = st.one_of(
    st.builds(Start, version=VERSIONS, nodes=st.none() | st.lists(TEXTS, max_size=2)),
    st.builds(
        Shift, weights=WEIGHTS, latency_limit=st.none() | DURATIONS, sticky=st.sampled_from([None, UNSET, STICKY])
    ),
    st.builds(Test, version=VERSIONS, suite=st.just(Suite()), soak=DURATIONS, duration=DURATIONS),
    st.builds(Bake, versions=st.lists(VERSIONS, max_size=3), duration=DURATIONS, limits=LIMITS),
    st.builds(
        AwaitPromotion,
        versions=st.lists(VERSIONS, max_size=3),
        judged=st.lists(VERSIONS, max_size=3),
        limits=LIMITS,
        limit=DURATIONS,
        weights=WEIGHTS,
        metrics=st.lists(TEXTS, max_size=2),
        planned=st.integers(200, 10**6),
        before=st.none() | st.just(STICKY),
    ),
    st.builds(Keep, version=VERSIONS, duration=DURATIONS, versions=st.lists(VERSIONS, max_size=2), limits=LIMITS),
    st.builds(Retire, version=VERSIONS, nodes=st.none() | st.lists(TEXTS, max_size=2)),
)
CONFIGS = st.builds(
    CanaryConfig, canary_increments=st.none() | st.lists(st.integers(1, 100), min_size=1), canary_duration=DURATIONS
)
REQUESTS: st.SearchStrategy[AnyRequest] = st.one_of(
    st.builds(AllAtOnce, function_name=TEXTS, version=VERSIONS, alias=TEXTS, reason=TEXTS),
    st.builds(Canary, function_name=TEXTS, version=VERSIONS, config=CONFIGS),
    st.builds(BlueGreen, function_name=TEXTS, version=VERSIONS),
    st.builds(
        Rolling,
        function_name=TEXTS,
        version=VERSIONS,
        config=st.builds(RollingConfig, batch_size=st.floats(0.1, 100), batch_duration=DURATIONS),
    ),
)
VERDICTS = st.builds(
    Verdict,
    outcome=st.sampled_from(Outcome),
    step=st.integers(0, 9),
    at=TIMES,
    rule=TEXTS,
    text=TEXTS,
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    invocations=st.integers(0, 2**53),
    errors=st.integers(0, 2**53),
    warnings=st.lists(TEXTS, max_size=2),
)
DEPLOYMENTS = st.builds(
    Deployment,
    id=TEXTS,
    request=REQUESTS,
    status=st.sampled_from(Status),
    plan=st.lists(STEPS, max_size=4),
    way_back=st.lists(STEPS, max_size=4),
    stable=st.none() | VERSIONS,
    progress=st.builds(Progress, index=st.integers(0, 9), entered=TIMES, deadline=TIMES, observed=st.none() | TIMES),
    created=TIMES,
    finished=st.none() | TIMES,
    verdicts=st.lists(VERDICTS, max_size=2),
    asked=st.none() | st.builds(Ask, verb=st.sampled_from(Verb), who=TEXTS, why=TEXTS, at=TIMES),
)


@given(DEPLOYMENTS)
def test_a_deployment_comes_back_as_it_was(deployment: Deployment) -> None:
    assert decode(encode(deployment), Deployment, where="deployment") == deployment


@given(st.builds(Event, deployment=TEXTS, number=VERSIONS, at=TIMES, kind=TEXTS, text=TEXTS))
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert decode(encode(event), Event, where="event") == event


def deployment(status: Status) -> Deployment:
    return Deployment(
        id="d1",
        request=Canary(function_name="image-processor", version=6, alias="staging"),
        status=status,
        plan=[Start(version=6), Shift(weights={5: 90, 6: 10})],
        way_back=[Shift(weights={5: 100})],
        progress=Progress(entered=NOW, deadline=NOW),
        created=NOW,
    )


@pytest.mark.parametrize("status", Status)
def test_the_way_back_counts_once_it_has_been_taken(status: Status) -> None:
    record = deployment(status)
    back = status in {Status.ROLLING_BACK, Status.FROZEN, Status.ROLLED_BACK}
    assert record.steps == (record.way_back if back else record.plan)


def test_the_end_is_one_of_four() -> None:
    terminal = {status for status in Status if status.terminal}
    assert terminal == {Status.SUCCEEDED, Status.ROLLED_BACK, Status.FAILED, Status.ABORTED}


def test_a_deployment_is_of_the_function_alias_and_version_that_were_asked_for() -> None:
    record = deployment(Status.RUNNING)
    assert (record.function, record.alias, record.version) == ("image-processor", "staging", 6)


def test_a_step_that_is_not_known_is_refused_with_those_that_are() -> None:
    record = encode(deployment(Status.RUNNING)).replace(b'"Start"', b'"Strat"')
    with pytest.raises(Invalid) as told:
        decode(record, Deployment, where="/hotswap/deployments/d1")
    assert '"plan[0].step" is "Strat"; it must be "Start", "Shift", ' in str(told.value)
    assert 'did you mean "Start"?' in str(told.value)
