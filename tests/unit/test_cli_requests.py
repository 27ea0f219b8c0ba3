"""What `hotswap deploy` asks for, from its arguments and a configuration."""

import json
from pathlib import Path
from typing import Any

import pytest

from hotswap.cli.requests import Asked, build, read
from hotswap.errors import Invalid

GUIDE: dict[str, Any] = {
    "functionName": "image-processor",
    "version": 6,
    "strategy": "Canary",
    "config": {
        "canaryPercentage": 10,
        "canaryDuration": "PT10M",
        "canaryIncrements": [10, 50, 100],
        "rollbackOnErrorRate": 0.05,
        "rollbackOnLatencyP99": 1000,
        "rollbackOnSuccessRate": 0.95,
    },
}


def asked(**said: Any) -> Asked:
    return Asked("image-processor", 6, **said)


def test_the_guides_request_is_taken_as_it_stands() -> None:
    assert json.loads(build(asked(), GUIDE)) == GUIDE


def test_a_configuration_alone_is_completed_by_the_arguments() -> None:
    assert json.loads(build(asked(strategy="Canary"), GUIDE["config"])) == GUIDE


def test_alias_preset_and_reason_are_added() -> None:
    request = json.loads(build(asked(strategy="Canary", alias="staging", preset="standard", why="a fix"), {}))
    assert (request["alias"], request["config"], request["reason"]) == ("staging", {"preset": "standard"}, "a fix")


@pytest.mark.parametrize(
    ("said", "given", "message"),
    [
        ({}, {}, "no strategy is named"),
        ({"strategy": "AllAtOnce"}, GUIDE, "says strategy AllAtOnce, the configuration says Canary"),
        ({}, {**GUIDE, "version": 7}, "says version 6, the configuration says 7"),
        ({}, {**GUIDE, "functionName": "other"}, "says functionName image-processor, the configuration says other"),
        ({"preset": "standard"}, {**GUIDE, "config": {"preset": "aggressive"}}, "says preset standard"),
        ({"strategy": "Canary"}, {"canaryPercent": 10}, "canaryPercent"),
        ({"strategy": "Canary"}, {"canaryPercentage": "ten"}, "canaryPercentage"),
        ({"strategy": "AllAtOnce"}, {"canaryPercentage": 10}, "canaryPercentage"),
        ({"strategy": "Canary"}, {"strategy": "Canary", "config": 5, "version": 6}, "config"),
        ({"preset": "standard"}, {"strategy": "Canary", "config": [1]}, "config"),
    ],
)
def test_a_contradiction_or_an_unknown_field_is_named(said: Any, given: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        build(asked(**said), given)


@pytest.mark.parametrize(("text", "message"), [("{", "is not a JSON object"), ("[1]", "is not a JSON object")])
def test_a_configuration_that_is_no_json_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(Invalid, match=message):
        read(str(tmp_path / "config.json"))


def test_a_configuration_that_cannot_be_read_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"nothing.json cannot be read: No such file"):
        read(str(tmp_path / "nothing.json"))
