"""Plans, as tables: what each request becomes, by the guide's own examples and timelines."""

from datetime import UTC, datetime, timedelta

import pytest

from controller import strategies
from controller.strategies import canary, presets
from controller.strategies.plan import State
from hotswap import requests
from hotswap.deployment import AnyStep, Bake, Retire, Shift, Start
from hotswap.errors import Invalid, Refused
from hotswap.model import Alias, Kind, Manifest, Version, Weights

GUIDE = b"""{
  "functionName": "image-processor", "version": 6, "strategy": "Canary",
  "config": {"canaryPercentage": 10, "canaryDuration": "PT10M", "canaryIncrements": [10, 50, 100],
             "rollbackOnErrorRate": 0.05, "rollbackOnLatencyP99": 1000, "rollbackOnSuccessRate": 0.95}
}"""
MOMENT = datetime(2025, 11, 23, tzinfo=UTC)


def state(weights: Weights | None = None, *, last_good: int | None = None, version: int = 6) -> State:
    manifest = Manifest(function="image-processor", kind=Kind.HANDLER, entrypoint="app:handler")
    record = Version(
        function="image-processor", number=version, artifact="", size=1, manifest=manifest, published=MOMENT
    )
    alias = (
        Alias(function="image-processor", name="production", weights=weights, last_good=last_good) if weights else None
    )
    return State(alias, record)


def request(**config: object) -> requests.Canary:
    made = requests.Canary(
        function_name="image-processor",
        version=6,
        config=requests.CanaryConfig(**config),  # type: ignore[arg-type] # each test names its own fields
    )
    assert isinstance(made, requests.Canary)
    return made


def story(steps: tuple[AnyStep, ...]) -> list[str]:
    """`start 6`, `5=90 6=10`, `bake 10m`, `retire 5`."""
    told = []
    for step in steps:
        match step:
            case Start(version=version):
                told.append(f"start {version}")
            case Shift(weights=weights):
                told.append(" ".join(f"{number}={weight}" for number, weight in weights.items()))
            case Bake(duration=duration):
                told.append(f"bake {duration.total_seconds() / 60:g}m")
            case Retire(version=version):
                told.append(f"retire {version}")
    return told


def timeline(phases: tuple[presets.Phase, ...]) -> str:
    """`10/10m 50/10m 100/10m`: percent and minutes of each phase."""
    return " ".join(f"{phase.percent}/{phase.duration.total_seconds() / 60:g}m" for phase in phases)


def test_all_at_once_starts_shifts_and_retires() -> None:
    plan = strategies.plan(requests.AllAtOnce(function_name="image-processor", version=6), state({5: 100}))
    assert story(plan.steps) == ["start 6", "6=100", "retire 5"]
    assert story(plan.way_back) == ["start 5", "5=100", "retire 6"]
    assert plan.stable == 5


def test_the_guides_canary_follows_its_timeline() -> None:
    plan = strategies.plan(requests.parse(GUIDE), state({5: 100}))
    assert story(plan.steps) == [
        "start 6",
        *("5=90 6=10", "bake 10m"),
        *("5=50 6=50", "bake 10m"),
        *("6=100", "bake 10m"),
        "retire 5",
    ]
    assert story(plan.way_back) == ["start 5", "5=100", "retire 6"]


def test_a_canary_has_the_routers_count_what_is_slower_than_its_limit() -> None:
    plan = strategies.plan(requests.parse(GUIDE), state({5: 100}))
    assert {step.latency_limit for step in plan.steps if isinstance(step, Shift)} == {timedelta(seconds=1)}
    assert {step.latency_limit for step in plan.way_back if isinstance(step, Shift)} == {None}


def test_the_limits_of_the_request_are_judged_in_every_phase() -> None:
    plan = strategies.plan(requests.parse(GUIDE), state({5: 100}))
    limits = [step.limits for step in plan.steps if isinstance(step, Bake)]
    assert {(it.rollback_on_error_rate, it.rollback_on_latency_p99, it.rollback_on_success_rate) for it in limits} == {
        (0.05, 1000, 0.95)
    }
    assert {type(it) for it in limits} == {requests.Limits}


@pytest.mark.parametrize("strategy", [requests.AllAtOnce, requests.Canary])
def test_the_first_deployment_of_an_alias_has_no_phases_and_no_way_back(
    strategy: type[requests.AllAtOnce] | type[requests.Canary],
) -> None:
    plan = strategies.plan(strategy(function_name="image-processor", version=6), state())
    assert story(plan.steps) == ["start 6", "6=100"]
    assert (plan.way_back, plan.stable) == ((), None)


@pytest.mark.parametrize(
    ("weights", "last_good", "stable", "retired"),
    [
        ({5: 100}, None, 5, ["retire 5"]),
        ({5: 40, 4: 60}, 5, 5, ["retire 4", "retire 5"]),
        ({5: 90, 6: 10}, 6, 5, ["retire 5"]),
        ({5: 100, 4: 0}, 4, 5, ["retire 5"]),
    ],
)
def test_the_stable_version_is_the_last_good_one_with_traffic_else_the_only_one(
    weights: Weights, last_good: int | None, stable: int, retired: list[str]
) -> None:
    plan = strategies.plan(
        requests.AllAtOnce(function_name="image-processor", version=6), state(weights, last_good=last_good)
    )
    assert plan.stable == stable
    assert [step for step in story(plan.steps) if step.startswith("retire")] == retired


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "10/10m 50/10m 100/10m"),
        ({"canary_increments": [5, 20, 100]}, "5/10m 20/10m 100/10m"),
        ({"canary_increments": [5, 20]}, "5/10m 20/10m 100/10m"),
        ({"canary_increments": [100]}, "100/10m"),
        ({"canary_percentage": 10}, "10/10m 50/10m 100/10m"),
        ({"canary_percentage": 50}, "50/10m 100/10m"),
        ({"canary_percentage": 60}, "60/10m 100/10m"),
        ({"canary_percentage": 100}, "100/10m"),
        ({"canary_percentage": 25, "canary_increments": [1, 100]}, "1/10m 100/10m"),
        ({"canary_percentage": 10, "canary_duration": timedelta(minutes=3)}, "10/3m 50/3m 100/3m"),
        ({"preset": "standard"}, "10/10m 50/10m 100/10m"),
        ({"preset": "conservative"}, "5/10m 10/10m 25/10m 50/10m 100/10m"),
        ({"preset": "aggressive"}, "25/5m 100/5m"),
        ({"preset": "Aggressive", "canary_duration": timedelta(minutes=1)}, "25/1m 100/1m"),
        ({"preset": "Canary10Percent5Minutes"}, "10/5m 100/0m"),
        ({"preset": "Canary10Percent30Minutes"}, "10/30m 100/0m"),
        ({"preset": "CodeDeployDefault.LambdaCanary10Percent15Minutes"}, "10/15m 100/0m"),
        (
            {"preset": "Linear10PercentEvery1Minute"},
            "10/1m 20/1m 30/1m 40/1m 50/1m 60/1m 70/1m 80/1m 90/1m 100/0m",
        ),
        ({"preset": "LambdaLinear30PercentEvery2Minutes"}, "30/2m 60/2m 90/2m 100/0m"),
        ({"preset": "ECSLinear50PercentEvery3Minutes"}, "50/3m 100/0m"),
        ({"preset": "LambdaAllAtOnce"}, "100/0m"),
        ({"preset": "Canary10Percent5Minutes", "canary_duration": timedelta(minutes=1)}, "10/1m 100/0m"),
    ],
)
def test_the_phases_of_a_canary(config: dict[str, object], expected: str) -> None:
    assert timeline(canary.phases(request(**config).config)) == expected


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"canary_increments": [50, 10, 100]}, "do not grow"),
        ({"canary_increments": [10, 10]}, "do not grow"),
        ({"canary_duration": timedelta(minutes=-1)}, "negative"),
        ({"preset": "standard", "canary_percentage": 5}, "both a preset and increments"),
        ({"preset": "standart"}, 'there is no preset "standart"'),
        ({"preset": "Canary0Percent5Minutes"}, "there is no preset"),
        ({"preset": "Canary100Percent5Minutes"}, "there is no preset"),
        ({"preset": "Linear10PercentEvery0Minutes"}, "there is no preset"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        strategies.plan(request(**config), state({5: 100}))


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(Invalid) as refusal:
        presets.named("fast")
    assert refusal.value.hint.startswith("use standard, conservative, aggressive, or a name of CodeDeploy's such as")


def test_a_phase_of_no_duration_is_not_judged() -> None:
    plan = strategies.plan(request(preset="Canary10Percent5Minutes"), state({5: 100}))
    assert story(plan.steps) == ["start 6", "5=90 6=10", "bake 5m", "6=100", "retire 5"]


def test_a_canary_whose_analysis_is_skipped_takes_everything_at_once_and_keeps_its_way_back() -> None:
    plan = strategies.plan(request(skip_analysis=True), state({5: 100}))
    assert story(plan.steps) == ["start 6", "6=100", "retire 5"]
    assert story(plan.way_back) == ["start 5", "5=100", "retire 6"]


@pytest.mark.parametrize("weights", [{5: 40, 4: 60}, {5: 50, 4: 50}])
def test_which_version_is_good_is_not_guessed(weights: Weights) -> None:
    with pytest.raises(Refused, match="none of them is known to be good") as refusal:
        strategies.plan(requests.AllAtOnce(function_name="image-processor", version=6), state(weights))
    assert "hotswap alias set image-processor:production" in refusal.value.hint
