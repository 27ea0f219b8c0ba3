"""What instances print: the last lines, following, cutting, and how much is kept."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from agent import output
from agent.output import Line, Outputs
from tests.conditions import eventually


def test_the_last_lines_of_each_instance_of_each_version(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    outputs.path("f", 1, "a").write_text("1\n2\n3\n")
    outputs.path("f", 2, "b").write_text("4\n")
    outputs.path("g", 1, "c").write_text("5\n")
    assert [line.text for line in outputs.last("f", 0, 2)] == ["2", "3", "4"]
    assert list(outputs.last("f", 2, 0)) == [Line("b", 2, "4")]
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
        async for line in outputs.follow("f", 0):
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
    lines = path.read_text().splitlines()
    assert lines[-2:] == ["line 199", "after"]
    assert path.stat().st_size < 300
    output.cut(path)
    assert path.read_text().splitlines() == lines


def test_only_the_newest_files_of_ended_instances_are_kept(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    for number in range(output.KEPT_FILES + 5):
        outputs.path("f", 1, f"i{number}").write_text("")
    outputs.prune("f", running={"i0"})
    assert len(list((tmp_path / "f/1").iterdir())) == output.KEPT_FILES + 1
    assert (tmp_path / "f/1/i0.log").exists()


def test_the_tail_of_what_was_never_written_is_empty(tmp_path: Path) -> None:
    assert output.tail(tmp_path / "none") == ""
