"""`hotswap plan` where no platform runs: it needs none, but for the rate of requests."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hotswap.cli.main import cli

CANARY = {"functionName": "image-processor", "version": 6, "strategy": "Canary", "config": {"canaryIncrements": [20]}}


def plan(*arguments: str, stdin: str = "") -> Result:
    environment = {"HOTSWAP_STATE_DIR": "/nonexistent", "HOTSWAP_CONTROLLER": ""}
    return CliRunner(env=environment).invoke(cli, ["plan", *arguments], input=stdin)


def test_the_timeline_and_the_power_are_told_in_words() -> None:
    told = plan("image-processor", "6", "--strategy", "canary", "--rps", "120")
    assert told.exit_code == 0, told.output
    assert "Canary of version 6 to image-processor:production in place of version 5" in told.output
    assert "0:10:00  50 %   36000" in told.output
    assert "a version that always fails is caught in about" in told.output
    assert "no platform runs" in told.output


def test_the_document_has_all_of_it() -> None:
    told = json.loads(plan("image-processor", "6", "--strategy", "canary", "--rps", "120", "-o", "json").output)
    assert [phase["weight"] for phase in told["phases"]] == [10, 50, 100]
    assert told["phases"][0]["invocations"] == 7200
    assert told["findings"][0]["rate"] == 1
    assert (told["assumed"], told["lasts"]) == (True, "PT1800S")


@pytest.mark.parametrize("source", ["file", "-"])
def test_a_whole_request_needs_no_arguments(tmp_path: Path, source: str) -> None:
    (tmp_path / "deployment.json").write_text(json.dumps(CANARY))
    named = str(tmp_path / "deployment.json") if source == "file" else "-"
    told = plan("-f", named, "--rps", "120", "-o", "json", stdin=json.dumps(CANARY))
    assert [phase["weight"] for phase in json.loads(told.output)["phases"]] == [20, 100]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "canary", "--rps", "120"], 'the field "functionName" is missing'),
        (["image-processor", "--strategy", "canary", "--rps", "120"], 'the field "version" is missing'),
        (["image-processor", "6", "--rps", "120"], "no strategy is named"),
        (["image-processor", "6", "--strategy", "canary", "--rps", "0"], "0 is not in the range"),
    ],
)
def test_what_is_missing_is_named(arguments: list[str], message: str) -> None:
    told = plan(*arguments)
    assert told.exit_code == 64
    assert message in told.output


def test_without_a_platform_the_rate_has_to_be_told() -> None:
    told = plan("image-processor", "6", "--strategy", "canary")
    assert told.exit_code == 1
    assert "nothing tells how often the function is invoked" in told.output
    assert "--rps 120" in told.output


def test_the_first_version_of_an_alias_has_everything_at_once_and_is_not_judged() -> None:
    told = plan("image-processor", "1", "--strategy", "canary", "--rps", "120")
    assert "the first of this alias" in told.output
    assert "nothing is judged: a version that fails is not caught" in told.output
