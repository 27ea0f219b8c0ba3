"""Which strategy to deploy with: asked on a terminal, or told by flags."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from hotswap import model
from hotswap.cli import output
from hotswap.cli.completion import function_argument
from hotswap.cli.requests import StrategyName
from hotswap.errors import Invalid
from hotswap.recommend import Advice, Answers, Question, recommend, unanswered

TEXTS = {
    Question.COMPARE: "Are two versions to be compared by their figures?",
    Question.PRODUCTION: "Is it for production?",
    Question.URGENT: "Must it be out at once, as a hotfix?",
    Question.CRITICAL: "Is the function critical?",
    Question.MANY_NODES: "Do many nodes run it (more than four or so)?",
}
FLAGS = {
    Question.COMPARE: "--compare/--no-compare",
    Question.PRODUCTION: "--production/--no-production",
    Question.URGENT: "--urgent",
    Question.CRITICAL: "--critical/--no-critical",
    Question.MANY_NODES: "--many-nodes/--few-nodes",
}


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    for question, flags in reversed(FLAGS.items()):
        command = click.option(flags, question.name.lower(), is_flag=True, default=None, help=TEXTS[question])(command)
    return command


@click.command("recommend")
@function_argument
@click.argument("version", type=click.IntRange(min=1))
@_flags
@output.output_option
def recommend_strategy(function: str, version: int, *, form: output.Format, **flags: bool | None) -> None:
    """Say which strategy suits the deployment of VERSION of FUNCTION.

    What no flag answers is asked, on a terminal. Nothing is deployed, and no platform has to run.

    \b
    hotswap recommend image-processor 6
    hotswap recommend image-processor 6 --no-compare --production --critical
    """
    model.check_function_name(function)
    given = _given(flags)
    answers: dict[Question, bool] = {}

    def answer(question: Question) -> bool:
        answers[question] = given[question] if question in given else click.confirm(TEXTS[question], err=True)
        return answers[question]

    advice = recommend(answer)
    command = f"hotswap deploy {function} {version} --strategy {_spelt(advice.strategy)}"
    if form == "json":
        output.print_json(_document(advice, answers, command))
    else:
        output.print_facts(_facts(advice, command))


def _given(flags: Mapping[str, bool | None]) -> Answers:
    """Without a terminal there is nobody to ask: what is not said to be urgent is not, and the rest has to be told."""
    given = {question: said for question in Question if (said := flags[question.name.lower()]) is not None}
    if sys.stdin.isatty():
        return given
    given.setdefault(Question.URGENT, False)
    if missing := unanswered(given):
        raise Invalid(
            "there is no terminal to ask on, and the flags leave questions open",
            hint="answer them: " + ", ".join(FLAGS[question] for question in missing),
        )
    return given


def _spelt(strategy: str) -> str:
    return next(spelt for spelt, name in StrategyName.NAMES.items() if name == strategy)


def _facts(advice: Advice, command: str) -> list[tuple[str, str]]:
    return [
        ("strategy", advice.strategy),
        ("why", advice.why),
        ("risk", advice.risk),
        ("way back", advice.way_back),
        ("next", command),
    ]


def _document(advice: Advice, answers: Answers, command: str) -> dict[str, Any]:
    return {
        "strategy": advice.strategy,
        "why": advice.why,
        "risk": advice.risk,
        "wayBack": advice.way_back,
        "command": command,
        "answers": {str(question): said for question, said in answers.items()},
    }


COMMANDS = (recommend_strategy,)
