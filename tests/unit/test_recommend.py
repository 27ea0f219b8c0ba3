"""Every path of the decision tree, and how it is asked and told on the command line."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hotswap.cli.main import cli
from hotswap.cli.requests import StrategyName
from hotswap.recommend import Advice, Question, recommend, unanswered
from hotswap.requests import STRATEGIES

YES, NO = True, False
COMPARE, PRODUCTION, URGENT, CRITICAL, MANY = Question
PATHS = {
    "ABTesting": [{COMPARE: YES}],
    "AllAtOnce": [
        {COMPARE: NO, PRODUCTION: NO},
        {COMPARE: NO, PRODUCTION: YES, URGENT: YES, CRITICAL: NO},
    ],
    "BlueGreen": [
        {COMPARE: NO, PRODUCTION: YES, URGENT: NO, CRITICAL: YES},
        {COMPARE: NO, PRODUCTION: YES, URGENT: YES, CRITICAL: YES},
    ],
    "Rolling": [{COMPARE: NO, PRODUCTION: YES, URGENT: NO, CRITICAL: NO, MANY: YES}],
    "Canary": [{COMPARE: NO, PRODUCTION: YES, URGENT: NO, CRITICAL: NO, MANY: NO}],
}
CASES = [(strategy, path) for strategy, paths in PATHS.items() for path in paths]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["recommend", *arguments])


@pytest.mark.parametrize(("strategy", "path"), CASES)
def test_each_path_asks_its_questions_in_order_and_ends_at_its_strategy(
    strategy: str, path: dict[Question, bool]
) -> None:
    asked: list[Question] = []

    def answer(question: Question) -> bool:
        asked.append(question)
        return path[question]

    assert recommend(answer).strategy == strategy
    assert asked == list(path)
    assert unanswered(path) == []


def test_every_strategy_is_recommended_to_somebody() -> None:
    assert set(PATHS) == set(STRATEGIES) == set(StrategyName.NAMES.values())


def test_only_questions_that_may_still_matter_are_open() -> None:
    assert unanswered({}) == list(Question)
    assert unanswered({COMPARE: NO}) == [PRODUCTION, URGENT, CRITICAL, MANY]
    assert unanswered({COMPARE: NO, PRODUCTION: YES, URGENT: YES}) == [CRITICAL]
    assert unanswered({CRITICAL: YES}) == [COMPARE, PRODUCTION, URGENT]


def test_a_tree_that_asks_nothing_gives_its_advice() -> None:
    advice = Advice("Canary", "why", "risk", "way back")
    assert recommend(lambda _: pytest.fail("nothing is to be asked"), advice) == advice


def test_by_flags_it_tells_the_strategy_why_and_the_command() -> None:
    result = run("hello", "2", "--no-compare", "--production", "--no-critical", "--few-nodes")
    assert result.exit_code == 0, result.output
    assert "strategy  Canary\n" in result.output
    assert "risk      low" in result.output
    assert "hotswap deploy hello 2 --strategy canary\n" in result.output


def test_json_tells_the_answers_that_led_there() -> None:
    result = run("hello", "2", "--no-compare", "--production", "--urgent", "--critical", "-o", "json")
    told = json.loads(result.output)
    assert told["strategy"] == "BlueGreen"
    assert told["command"] == "hotswap deploy hello 2 --strategy blue-green"
    assert told["answers"] == {"compare": False, "production": True, "urgent": True, "critical": True}


def test_without_a_terminal_flags_that_are_missing_are_named() -> None:
    result = run("hello", "2", "--no-compare", "--production")
    assert result.exit_code == 64
    assert "answer them: --critical/--no-critical, --many-nodes/--few-nodes\n" in result.output


def test_a_flag_whose_question_is_not_reached_changes_nothing() -> None:
    assert "ABTesting" in run("hello", "2", "--compare", "--many-nodes").output


def test_a_name_that_no_function_can_have_is_refused() -> None:
    assert run("Hello!", "2", "--compare").exit_code == 64


def test_on_a_terminal_it_asks_what_the_flags_leave_open() -> None:
    controller, terminal = pty.openpty()
    try:
        os.write(controller, b"n\ny\nn\n")  # to compare, urgent, critical
        asked = subprocess.run(
            [Path(sys.executable).with_name("hotswap"), "recommend", "hello", "2", "--production", "--many-nodes"],
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    finally:
        os.close(terminal)
        os.close(controller)
    assert "AllAtOnce" in asked.stdout
    assert asked.stderr.count("[y/N]") == 3
