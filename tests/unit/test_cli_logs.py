"""How a line of a function's output is shown."""

import re

import click
import pytest

from hotswap.cli.logs import line
from hotswap.rpc import controller_pb2 as pb


def entry(text: str, *, at: str = "2026-01-31T12:00:00.123+00:00", request: str = "", platform: bool = False) -> str:
    told = pb.LogEntry(
        at=at, node="node-1", version=6, instance="node-1-0a1b2c3d", request=request, text=text, platform=platform
    )
    return click.unstyle(line(told))


def test_a_line_tells_when_where_and_for_whom_it_was_printed() -> None:
    shown = re.fullmatch(r"2026-0[12]-\d\d \d\d:\d\d:00\.123  v6  0a1b2c3d  r-1  hello", entry("hello", request="r-1"))
    assert shown


def test_what_no_invocation_printed_and_what_the_platform_tells_can_be_told_apart() -> None:
    assert entry("loading").endswith("0a1b2c3d  -  loading")
    assert entry("was killed", platform=True).endswith("0a1b2c3d  hotswap: was killed")


@pytest.mark.parametrize(("printed", "shown"), [("a\tb", "a\tb"), ("\x1b[2Jgone", "\\x1b[2Jgone"), ("a\rb", "a\\x0db")])
def test_what_a_function_prints_does_not_command_the_terminal(printed: str, shown: str) -> None:
    assert line(pb.LogEntry(at="2026-01-31T12:00:00+00:00", text=printed)).endswith(f"  {shown}")
