"""`hotswap hook` against a real controller; where a hook leads nobody listens."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller_platform import FUNCTION
from tests.unit.test_cli_controller import Control, controlled

NOBODY = "http://127.0.0.1:9/hook"


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with controlled(tmp_path) as made:
        yield made


def test_a_hook_is_added_and_its_secret_told_once(control: Control) -> None:
    result = control.run("hook", "add", "team", NOBODY, "--function", FUNCTION, "--status", "Frozen")
    assert result.exit_code == 0, result.output
    secret = result.stdout.split("secret")[1].split()[0]
    assert len(secret) == 64
    [listed] = control.document("hook", "list")
    assert (listed["name"], listed["url"], listed["functions"], listed["statuses"]) == (
        ("team", NOBODY, [FUNCTION], ["Frozen"])
    )
    assert secret not in str(listed)
    assert "enabled" in control.run("hook", "list").stdout


def test_a_test_that_is_not_delivered_ends_with_1(control: Control) -> None:
    assert control.run("hook", "add", "team", NOBODY).exit_code == 0
    result = control.run("hook", "test", "team")
    assert result.exit_code == 1
    assert result.stdout.startswith("not delivered: no answer")
    assert json.loads(control.run("hook", "test", "team", "-o", "json").stdout)["delivered"] is False


def test_a_hook_is_removed(control: Control) -> None:
    assert control.run("hook", "add", "team", NOBODY).exit_code == 0
    assert control.run("hook", "undelivered", "team").exit_code == 0
    assert control.document("hook", "remove", "team") == {"removed": "team"}
    assert control.document("hook", "list") == []
    assert "no hook" in control.run("hook", "remove", "team").stderr


def test_a_wrong_url_is_refused_with_an_example(control: Control) -> None:
    result = control.run("hook", "add", "team", "ftp://example.org")
    assert result.exit_code == 64
    assert "https://example.org/hotswap" in result.stderr
