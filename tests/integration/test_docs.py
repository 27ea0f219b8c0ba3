"""What the pages show is what happens: their `console` blocks are run against a real platform.

In such a block a line that begins with `$ ` is a command, and the lines up to the next are what it prints, to either
stream. In them `…` stands for anything, and on a line of its own for any number of lines; times and ids of deployments
are those of the run; an id that a command printed is the one that a later command means. Blocks of other kinds (`sh`)
are shown and not run. Each page has a platform of its own.
"""

import asyncio
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hotswap import aws_keys
from hotswap.cli.platform import Platform

ROOT = Path(__file__).parents[2]
PAGES = [
    page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if "```console" in page.read_text()
]
LIMIT = 90.0
"""Seconds for one command."""
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ID = re.compile(r"d-[0-9a-f]{8}")
TIME = re.compile(r"\d\d:\d\d:\d\d")


@dataclass(frozen=True)
class Shown:
    command: str
    output: str


def shown(page: Path) -> list[Shown]:
    """The commands of a page, in order, with what they print."""
    text = "".join(BLOCK.findall(page.read_text()))
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    return [Shown(command, output) for command, output in zip(parts[::2], parts[1::2], strict=True)]


@dataclass
class Session:
    """A shell whose commands are run one by one; `$?` is the exit code of the one before."""

    platform: Platform
    code: int = 0
    ids: dict[str, str] = field(default_factory=dict)
    """By the id that the page shows."""

    async def run(self, command: str) -> str:
        meant = ID.sub(lambda found: self.ids[found[0]], command)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"(exit {self.code}); {meant}"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                **os.environ,
                "HOTSWAP_STATE_DIR": str(self.platform.state_dir),
                "HOTSWAP_REST": f"http://{self.platform.rest}/api/v1",
                "HOTSWAP_TOKEN": self.platform.token,
                "AWS_ENDPOINT_URL_LAMBDA": f"http://{self.platform.rest}",
                "AWS_SHARED_CREDENTIALS_FILE": str(self.platform.state_dir / aws_keys.FILE),
                "AWS_DEFAULT_REGION": "us-east-1",
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
        )
        out, _ = await asyncio.wait_for(process.communicate(), LIMIT)
        self.code = process.returncode or 0
        return out.decode()

    def agrees(self, expected: str, printed: str) -> bool:
        named: set[str] = set()

        def identified(shown: re.Match[str]) -> str:
            """The id of the run for one that the page showed before, else a group that finds it."""
            name = shown[0]
            if name in self.ids:
                return self.ids[name]
            group = name.replace("-", "_")
            pattern = f"(?P={group})" if name in named else f"(?P<{group}>{ID.pattern})"
            named.add(name)
            return pattern

        found = re.fullmatch(ID.sub(identified, "".join(map(pattern_of, expected.splitlines()))), printed)
        if found:
            self.ids.update({group.replace("_", "-"): name for group, name in found.groupdict().items()})
        return bool(found)


def pattern_of(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*?"
    escaped = re.escape(line).replace(r"\-", "-").replace("…", ".*")
    return TIME.sub(lambda _: TIME.pattern, escaped) + r"\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_a_page_shows_what_happens(page: Path, tmp_path: Path) -> None:
    async with Platform(state_dir=tmp_path / "state") as platform:
        session = Session(platform)
        for step in shown(page):
            printed = await session.run(step.command)
            what = f"$ {step.command}\n{printed}\nis not what the page shows:\n{step.output}"
            assert session.agrees(step.output, printed), what


def test_there_are_pages_with_commands() -> None:
    assert len(PAGES) >= 6
