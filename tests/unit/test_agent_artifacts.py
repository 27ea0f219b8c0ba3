"""The agent's files: what does not run here goes, the longest unused first, as far as the space demands."""

import os
from pathlib import Path

import pytest

from agent.artifacts import Artifacts

SIZE = 1000


async def nobody() -> str:
    raise AssertionError("nothing is fetched")


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Four, in the order of their last use, with 1,000 bytes each."""
    folder, bytecode = tmp_path / "artifacts", tmp_path / "bytecode"
    made = Artifacts(folder, nobody, bytecode=bytecode)
    for age, name in enumerate("dcba"):
        for place in (folder, bytecode):
            (place / name / "inner").mkdir(parents=True)
            (place / name / "inner" / "file").write_bytes(bytes(SIZE))
        os.utime(folder / name, (1000 - age, 1000 - age))
    return made


def left(tmp_path: Path) -> str:
    names = sorted(path.name for path in (tmp_path / "artifacts").iterdir())
    assert sorted(path.name for path in (tmp_path / "bytecode").iterdir()) == names
    return "".join(names)


def space(files: int) -> int:
    """Bytes for so many of them; a folder takes some as well."""
    return files * (SIZE + (1 << 13))


@pytest.mark.parametrize(("files", "stay"), [(4, "abcd"), (0, "")])
async def test_with_space_all_stays_and_with_none_all_goes(
    artifacts: Artifacts, tmp_path: Path, files: int, stay: str
) -> None:
    await artifacts.remove_unused(in_use=set, space=space(files))
    assert left(tmp_path) == stay


async def test_the_longest_unused_goes_first(artifacts: Artifacts, tmp_path: Path) -> None:
    size = sum(path.lstat().st_size for path in (tmp_path / "artifacts" / "a").rglob("*"))
    await artifacts.remove_unused(in_use=set, space=2 * size)
    assert left(tmp_path) == "cd"


async def test_what_was_used_again_is_the_last_to_go(artifacts: Artifacts, tmp_path: Path) -> None:
    assert await artifacts.folder("a", SIZE) == tmp_path / "artifacts" / "a"
    size = sum(path.lstat().st_size for path in (tmp_path / "artifacts" / "a").rglob("*"))
    await artifacts.remove_unused(in_use=set, space=size)
    assert left(tmp_path) == "a"


async def test_what_runs_stays_and_takes_no_space_from_what_does_not(artifacts: Artifacts, tmp_path: Path) -> None:
    size = sum(path.lstat().st_size for path in (tmp_path / "artifacts" / "a").rglob("*"))
    await artifacts.remove_unused(in_use=lambda: {"a", "d"}, space=size)
    assert left(tmp_path) == "acd"


async def test_what_begins_to_run_just_then_stays(artifacts: Artifacts, tmp_path: Path) -> None:
    answers = iter([set[str]()])
    await artifacts.remove_unused(in_use=lambda: next(answers, {"b"}), space=0)
    assert left(tmp_path) == "b"


async def test_what_an_agent_had_begun_to_unpack_or_to_remove_is_gone_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".a.1234").mkdir()
    (tmp_path / ".a.part").write_bytes(b"begun")
    Artifacts(tmp_path, nobody, bytecode=tmp_path)
    assert not (tmp_path / ".a.1234").exists()
    assert (tmp_path / ".a.part").read_bytes() == b"begun"
