"""What functions print through our runtime: by whole lines, with the invocation; too much is dropped and counted."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime import lines, printing
from agent.runtime.printing import Budget, Printed, printed_by


class Paper:
    """Streams that print to a file."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.stream = Printed(self._file, 1, Budget(lambda: self.now))

    def lines(self) -> list[tuple[str, str]]:
        """(request, text)."""
        return [lines.parse(line)[1:] for line in self._path.read_text().split("\n")[:-1]]

    def close(self) -> None:
        os.close(self._file)


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[Paper]:
    made = Paper(tmp_path / "a.log")
    yield made
    made.close()


@given(
    at=st.integers(0, 2**41).map(lambda ms: ms / 1000),
    request=st.text("abc-0!"),
    text=st.text().filter(lambda it: "\n" not in it),
)
def test_a_framed_line_is_read_as_it_was_written(at: float, request: str, text: str) -> None:
    found, by, said = lines.parse(lines.framed(text, at=at, request=request).removesuffix("\n"))
    assert (by, said) == (request, text)
    assert found is not None
    assert abs(found - at) < 0.002


@given(st.text())
def test_any_other_line_is_all_text(text: str) -> None:
    at, request, said = lines.parse(text)
    assert (at, request, said) == (None, "", text) or text.startswith(lines.BEGIN)


def test_parts_of_lines_of_several_invocations_do_not_mix(paper: Paper) -> None:
    async def invocation(name: str) -> None:
        token = printing.request.set(name)
        for part in ("one ", "two ", "three\n"):
            paper.stream.write(part)
            await asyncio.sleep(0)
        printing.request.reset(token)

    async def both() -> None:
        await asyncio.gather(invocation("a"), invocation("b"))

    asyncio.run(both())
    assert paper.lines() == [("a", "one two three"), ("b", "one two three")]


def test_a_line_without_end_is_told_with_the_end_of_its_invocation(paper: Paper) -> None:
    paper.stream.write("of nobody")
    token = printing.request.set("a")
    paper.stream.write("almost")
    paper.stream.end("a")
    printing.request.reset(token)
    assert paper.lines() == [("a", "almost")]
    paper.stream.close_lines()
    assert paper.lines() == [("a", "almost"), ("", "of nobody")]


def test_structured_lines_are_passed_as_they_are(paper: Paper) -> None:
    paper.stream.write('{"level": "info", "text": "a\\\\nb\\u001e"}\n')
    assert paper.lines() == [("", '{"level": "info", "text": "a\\\\nb\\u001e"}')]


def test_a_long_line_is_cut_and_says_so(paper: Paper) -> None:
    paper.stream.write("x" * 100_000 + "\n")
    [(_, text)] = paper.lines()
    assert text == "x" * printing.LINE_CHARACTERS + "… (cut: it has 100000 characters)"


def test_what_is_too_much_is_dropped_and_counted(paper: Paper) -> None:
    for _ in range(10_000):
        paper.stream.write("x" * 1023 + "\n")
    kept = len(paper.lines())
    assert kept == printing.BURST // 1023
    paper.now += 1
    paper.stream.write("after\n")
    dropped = 10_000 - kept
    assert paper.lines()[kept:] == [
        ("!", f"{dropped} lines of {dropped * 1023} characters were dropped: 1 MiB/s may be printed"),
        ("", "after"),
    ]


def test_what_was_dropped_is_told_with_the_end_of_the_invocation_at_the_latest(paper: Paper) -> None:
    for _ in range(10_000):
        paper.stream.write("x" * 1023 + "\n")
    paper.stream.end("")
    assert paper.lines()[-1][0] == "!"
    before = paper.lines()
    paper.stream.end("")
    assert paper.lines() == before


def test_bytes_are_printed_too_and_what_is_no_text_is_shown(paper: Paper) -> None:
    paper.stream.buffer.write(b"caf\xc3\xa9 \xff\n")
    paper.stream.write("\udcff\n")
    assert paper.lines() == [("", "café \\xff"), ("", "\\udcff")]


def test_a_disk_that_is_full_fails_no_print() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert Printed(full, 1, Budget(lambda: 0.0)).write("lost\n") == 5
    finally:
        os.close(full)


def test_the_streams_are_put_back() -> None:
    before = sys.stdout, sys.stderr
    with printing.taken(), printed_by("a"):
        assert (sys.stdout, sys.stderr) != before
    assert (sys.stdout, sys.stderr) == before
