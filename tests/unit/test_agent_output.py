"""What instances print: the last lines, following, cutting, and how much is kept."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from agent import output
from agent.output import Line, Outputs, Wanted
from agent.runtime import lines
from tests.conditions import eventually


def test_the_last_lines_of_each_instance_of_each_version(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    outputs.path("f", 1, "a").write_text("1\n2\n3\n")
    outputs.path("f", 2, "b").write_text("4\n")
    outputs.path("g", 1, "c").write_text("5\n")
    assert [line.text for line in outputs.last("f", Wanted(last=2))] == ["2", "3", "4"]
    [line] = outputs.last("f", Wanted(version=2))
    assert (line.instance, line.version, line.text, line.request) == ("b", 2, "4", "")
    assert line.at == pytest.approx(outputs.path("f", 2, "b").stat().st_mtime)
    assert outputs.has("f")
    assert not outputs.has("h")


def grown(lines: list[str], before: int) -> bool:
    return len(lines) > before


async def test_following_tells_whole_lines_as_they_come(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    path = outputs.path("f", 1, "a")
    path.write_text("old\n")
    told: list[str] = []

    async def listen() -> None:
        async for line in outputs.follow("f", Wanted(), outputs.sizes("f", Wanted())):
            told.append(line.text)

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen())
        await asyncio.sleep(0)
        for text in ("new\nhal", "f\n"):
            with path.open("a") as file:
                file.write(text)
            before = len(told)
            await eventually(partial(grown, told, before))
        listening.cancel()
    assert told == ["new", "half"]


def test_a_file_that_grew_too_long_keeps_its_end_under_the_writers_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "FILE_BYTES", 1000)
    path = tmp_path / "a.log"
    with path.open("ab", buffering=0) as writer:
        for number in range(200):
            writer.write(f"line {number}\n".encode())
        output.cut(path)
        writer.write(b"after\n")
    kept = path.read_text().split("\n")
    assert kept[-3:] == ["line 199", "after", ""]
    assert "bytes before this were let go" in kept[0]
    assert path.stat().st_size < 400
    output.cut(path)
    assert path.read_text().split("\n") == kept


def test_only_the_newest_files_of_ended_instances_are_kept(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    for number in range(output.KEPT_FILES + 5):
        outputs.path("f", 1, f"i{number}").write_text("")
    outputs.prune("f", running={"i0"})
    assert len(list((tmp_path / "f/1").iterdir())) == output.KEPT_FILES + 1
    assert (tmp_path / "f/1/i0.log").exists()


def test_the_tail_of_what_was_never_written_is_empty(tmp_path: Path) -> None:
    assert output.tail(tmp_path / "none") == ""


def test_lines_are_chosen_by_time_and_by_invocation(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    outputs.path("f", 1, "a").write_text(
        lines.framed("early", at=10, request="r1")
        + "of a program\n"
        + lines.framed("late", at=20, request="r2")
        + lines.framed("ended", at=30, request=lines.PLATFORM)
    )
    told = [Line("a", 1, "early", 10, "r1"), Line("a", 1, "of a program", 20), Line("a", 1, "late", 20, "r2")]
    assert list(outputs.last("f", Wanted())) == [*told, Line("a", 1, "ended", 30, "!")]
    assert [line.text for line in outputs.last("f", Wanted(since=20))] == ["of a program", "late", "ended"]
    assert [line.text for line in outputs.last("f", Wanted(request="r1"))] == ["early"]
    assert [line.text for line in outputs.last("f", Wanted(since=20, last=1))] == ["ended"]


def test_what_a_program_prints_gets_the_time_at_which_it_was_seen(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    path = outputs.path("f", 1, "a")
    path.write_text("one\n")
    size = output.mark(path, 0, at=5)
    assert output.mark(path, size, at=6) == size
    with path.open("a") as file:
        file.write("two\nhal")
    assert output.mark(path, size, at=7) == path.stat().st_size
    with path.open("a") as file:
        file.write("f\n")
    output.mark(path, size, at=8)
    assert [(line.at, line.text) for line in outputs.last("f", Wanted())] == [(5, "one"), (8, "two"), (8, "half")]


def test_what_the_platform_tells_is_among_what_the_instance_printed(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    path = outputs.path("f", 1, "a")
    path.write_text("working\n")
    output.tell(path, "was killed\nfor a reason", at=9)
    assert [(it.request, it.text) for it in outputs.last("f", Wanted())] == [
        ("", "working"),
        ("!", "was killed"),
        ("!", "for a reason"),
    ]
    assert output.tail(path) == "working\nwas killed\nfor a reason"
