"""How soon the judge rolls a bad version back, and how rarely a healthy one: the short form of what
`scripts/simulate-judge` plays, with a fixed seed."""

import pytest
from click.testing import CliRunner

from tests.judge_report import PARTS, between, checks, main, reached

RUNS = {"speed": 1000, "false": 100, "winners": 60, "regulars": 300, "healthy": 800, "budgets": 0}
"""Harm budgets have tests of their own."""


@pytest.mark.parametrize("part", [part for part in PARTS if RUNS[part]])
def test_the_judge_does_what_it_should(part: str) -> None:
    found = list(checks(part, runs=RUNS[part], seed=1))
    assert found
    assert [str(check) for check in found if not check.agrees] == []


def test_a_judge_that_is_too_late_or_too_soon_would_be_off() -> None:
    ended = list(range(1, 1001))
    assert reached("x", ended, 0.5, 500).agrees
    assert not reached("x", ended, 0.5, 400).agrees
    assert not reached("x", ended, 0.9, 1000).agrees


def test_a_share_that_is_off_by_more_than_noise_is_told() -> None:
    assert between("x", 0.013, 0.01, 0.01, runs=400).agrees
    assert not between("x", 0.04, 0.01, 0.01, runs=400).agrees
    assert not between("x", 0.30, 0.37, 0.47, runs=1000).agrees


def test_the_exit_code_tells_whether_all_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    played = CliRunner().invoke(main, ["--quick", "--part", "speed"])
    assert played.exit_code == 0, played.output
    assert "0 figures are off" in played.output
    monkeypatch.setattr("tests.judge_report.ROUNDED", -0.5)
    off = CliRunner().invoke(main, ["--quick", "--part", "speed"])
    assert off.exit_code == 1
    assert "OFF G1, limit 1 %, fails 5%" in off.output
