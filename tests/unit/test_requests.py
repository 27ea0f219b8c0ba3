"""What a person asks for, in the words of the strategies guide."""

import json
from datetime import timedelta

import pytest

from hotswap import requests
from hotswap.errors import Invalid
from hotswap.requests import ABTesting, AllAtOnce, BlueGreen, Canary, OnInsufficientData, Rolling, SwitchType, parse

ALL_AT_ONCE = """
{
  "functionName": "image-processor",
  "version": 6,
  "strategy": "AllAtOnce"
}
"""

CANARY = """
{
  "functionName": "image-processor",
  "version": 6,
  "strategy": "Canary",
  "config": {
    "canaryPercentage": 10,
    "canaryDuration": "PT10M",
    "canaryIncrements": [10, 50, 100],
    "rollbackOnErrorRate": 0.05,
    "rollbackOnLatencyP99": 1000,
    "rollbackOnSuccessRate": 0.95
  }
}
"""

BLUE_GREEN = """
{
  "functionName": "image-processor",
  "version": 6,
  "strategy": "BlueGreen",
  "config": {
    "testDuration": "PT5M",
    "switchType": "Instant",
    "keepBlue": true,
    "keepBlueDuration": "PT1H"
  }
}
"""

ROLLING = """
{
  "functionName": "image-processor",
  "version": 6,
  "strategy": "Rolling",
  "config": {
    "batchSize": 25,
    "batchDuration": "PT5M",
    "rollbackOnFailure": true
  }
}
"""

AB_TESTING = """
{
  "functionName": "recommendation-engine",
  "version": 2,
  "strategy": "ABTesting",
  "config": {
    "versionA": 1,
    "versionB": 2,
    "trafficSplit": {
      "1": 50,
      "2": 50
    },
    "testDuration": "PT24H",
    "manualPromotion": true,
    "metricsToCompare": [
      "responseTime",
      "errorRate",
      "conversionRate",
      "userEngagement"
    ]
  }
}
"""
"""These five are the guide's configurations as they stand there."""


def test_the_guides_all_at_once() -> None:
    assert parse(ALL_AT_ONCE) == AllAtOnce(function_name="image-processor", version=6, alias="production")


def test_the_guides_canary() -> None:
    request = parse(CANARY)
    assert isinstance(request, Canary)
    assert request.config.canary_percentage == 10
    assert request.config.canary_duration == timedelta(minutes=10)
    assert request.config.canary_increments == [10, 50, 100]
    assert request.config.rollback_on_error_rate == 0.05
    assert request.config.rollback_on_latency_p99 == 1000
    assert request.config.rollback_on_success_rate == 0.95


def test_the_guides_blue_green() -> None:
    request = parse(BLUE_GREEN)
    assert isinstance(request, BlueGreen)
    assert request.config.test_duration == timedelta(minutes=5)
    assert request.config.switch_type is SwitchType.INSTANT
    assert request.config.keep_blue
    assert request.config.keep_blue_duration == timedelta(hours=1)


def test_the_guides_rolling() -> None:
    request = parse(ROLLING)
    assert isinstance(request, Rolling)
    assert request.config.batch_size == 25
    assert request.config.batch_duration == timedelta(minutes=5)
    assert request.config.rollback_on_failure


def test_the_guides_ab_testing() -> None:
    request = parse(AB_TESTING)
    assert isinstance(request, ABTesting)
    assert (request.config.version_a, request.config.version_b) == (1, 2)
    assert request.config.traffic_split == {1: 50, 2: 50}
    assert request.config.test_duration == timedelta(days=1)
    assert request.config.manual_promotion
    assert request.config.metrics_to_compare == ["responseTime", "errorRate", "conversionRate", "userEngagement"]


def test_a_batch_of_an_eighth_of_the_runners() -> None:
    request = parse(_with(ROLLING, batchSize=12.5))
    assert isinstance(request, Rolling)
    assert request.config.batch_size == 12.5


@pytest.mark.parametrize("thresholds", [(0.01, 500, 0.99), (0.05, 1000, 0.95)])
def test_the_guides_thresholds(thresholds: tuple[float, float, float]) -> None:
    error_rate, latency, success_rate = thresholds
    request = parse(
        _with(
            CANARY,
            rollbackOnErrorRate=error_rate,
            rollbackOnLatencyP99=latency,
            rollbackOnSuccessRate=success_rate,
        )
    )
    assert isinstance(request, Canary)
    assert request.config.rollback_on_success_rate == success_rate


def test_a_request_needs_no_config() -> None:
    request = parse('{"functionName": "fn", "version": 2, "strategy": "Canary", "alias": "staging"}')
    assert isinstance(request, Canary)
    assert request.alias == "staging"
    assert request.config.canary_increments is None
    assert request.config.rollback_on_error_rate == 0.05
    assert request.config.on_insufficient_data is OnInsufficientData.HOLD


def test_every_strategy_has_its_type() -> None:
    for name, kind in requests.STRATEGIES.items():
        assert type(parse(json.dumps({"functionName": "fn", "version": 1, "strategy": name}))) is kind


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"strategy": "Cannary"}, '"strategy" is "Cannary"; it must be "AllAtOnce", "Canary", "BlueGreen", '),
        ({"strategy": "Cannary"}, 'did you mean "Canary"?'),
        ({"strategy": None}, '"strategy" is null; it must be "AllAtOnce"'),
        ({"version": 0}, '"version" is 0; it must be a whole number from 1 to 999999999'),
        ({"version": "6"}, '"version" is "6"; it must be a whole number from 1 to 999999999'),
        ({"functionNam": "fn"}, 'there is no field "functionNam"\ndid you mean "functionName"?'),
        ({"zzz": 1}, "the fields are functionName, version, alias, reason, onConflict, force and config"),
        ({"config": []}, '"config" is []; it must be an object'),
    ],
)
def test_an_error_names_the_field_and_what_it_may_be(changed: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid) as told:
        parse(json.dumps(json.loads(CANARY) | changed))
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("document", "field", "value", "said"),
    [
        (CANARY, "canaryPercentage", 300, '"config.canaryPercentage" is 300; it must be a whole number from 1 to 100'),
        (CANARY, "canaryPercentage", "ten", '"config.canaryPercentage" is "ten"; it must be a whole number from 1'),
        (CANARY, "canaryIncrements", [10, "x"], '"config.canaryIncrements[1]" is "x"; it must be a whole number'),
        (CANARY, "canaryIncrements", [], '"config.canaryIncrements" is []; it must be a list of at least 1'),
        (CANARY, "canaryDuration", "10 min", '"config.canaryDuration" is "10 min"; it must be a duration such as "PT'),
        (CANARY, "rollbackOnErrorRate", 5, '"config.rollbackOnErrorRate" is 5; it must be a number from 0 to 1'),
        (CANARY, "rollbackOnLatencyP99", 0, '"config.rollbackOnLatencyP99" is 0; it must be a number above 0'),
        (CANARY, "onInsufficientData", "go", '"config.onInsufficientData" is "go"; it must be "hold", "advance" or'),
        (CANARY, "canaryPercent", 1, 'there is no field "config.canaryPercent"\ndid you mean "canaryPercentage"?'),
        (CANARY, "batchSize", 25, 'there is no field "config.batchSize"'),
        (BLUE_GREEN, "switchType", "Slow", '"config.switchType" is "Slow"; it must be "Instant"'),
        (BLUE_GREEN, "keepBlue", "yes", '"config.keepBlue" is "yes"; it must be true or false'),
        (ROLLING, "batchSize", 0, '"config.batchSize" is 0; it must be a number above 0 and up to 100'),
        (AB_TESTING, "trafficSplit", {"one": 50}, 'a key in "config.trafficSplit" is wrong; it must be a whole number'),
        (AB_TESTING, "trafficSplit", {"1": 500}, 'a value in "config.trafficSplit" is wrong; it must be a whole'),
        (AB_TESTING, "metricsToCompare", [1], '"config.metricsToCompare[0]" is 1; it must be a text'),
    ],
)
def test_an_error_names_the_field_of_the_strategy(document: str, field: str, value: object, said: str) -> None:
    with pytest.raises(Invalid) as told:
        parse(_with(document, **{field: value}))
    assert str(told.value).startswith(f"deployment request: {said}")


@pytest.mark.parametrize("field", ["functionName", "version", "strategy"])
def test_a_field_that_is_missing_is_named(field: str) -> None:
    document = json.loads(CANARY)
    del document[field]
    with pytest.raises(Invalid, match=f'the field "{field}" is missing; it must be '):
        parse(json.dumps(document))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "deployment request is not JSON: "),
        (b"{bad", "deployment request is not JSON: "),
        (b'{"strategy": "Canary", "functionName": "\xff"}', "deployment request is not JSON: it is not UTF-8"),
        (b"[" * 100_000, "deployment request: it is wrong; it must be an object"),
        (b'{"config": ' * 100_000, "deployment request is nested too deeply"),
        (b"[]", "deployment request: it is []; it must be an object"),
        (b"null", "deployment request: it is null; it must be an object"),
        (CANARY[:-20].encode(), "deployment request is not JSON: "),
    ],
)
def test_what_is_no_request_at_all(document: bytes, said: str) -> None:
    with pytest.raises(Invalid) as told:
        parse(document)
    assert str(told.value).startswith(said)


def test_a_long_wrong_value_is_cut_short() -> None:
    with pytest.raises(Invalid) as told:
        parse(_with(CANARY, preset=["x" * 1_000]))
    assert len(str(told.value)) < 200


def _with(document: str, **config: object) -> str:
    changed = json.loads(document)
    changed["config"] |= config
    return json.dumps(changed)
