"""The whole platform as a user has it: real processes, used through the `hotswap` command and the router's address."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from hotswap.cli.platform import Platform
from hotswap.settings import PrometheusSettings

COMMAND_LIMIT = 120.0
"""Seconds for one command, `--wait` included."""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Stage:
    platform: Platform
    folder: Path
    """For the functions that the test writes."""

    def url(self, qualifier: str) -> str:
        return f"http://{self.platform.router}/fn/{qualifier}"

    async def hotswap(self, *arguments: str, code: int | None = 0, stdin: str = "") -> Answer:
        """Runs the command; `code` is the exit code that must come, `None` for any."""
        process = await self.begin(*arguments)
        async with asyncio.timeout(COMMAND_LIMIT):
            out, err = await process.communicate(stdin.encode())
        answer = Answer(process.returncode or 0, out.decode(), err.decode())
        assert code is None or answer.code == code, f"hotswap {' '.join(arguments)}: {answer}"
        return answer

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hotswap",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOTSWAP_STATE_DIR": str(self.platform.state_dir)},
        )

    async def publish(self, folder: Path) -> int:
        return int((await self.hotswap("publish", str(folder), "-o", "json")).json["number"])

    async def all_at_once(self, function: str, version: int) -> None:
        await self.hotswap("deploy", function, str(version), "--strategy", "all-at-once", "--wait", "--timeout", "60s")

    async def canary(self, function: str, version: int, **config: object) -> str:
        """Starts one, and returns its id."""
        answer = await self.hotswap(
            *("deploy", function, str(version), "--strategy", "canary", "--config", "-", "-o", "json"),
            stdin=json.dumps(config),
        )
        return str(answer.json["id"])

    async def holding(self, deployment: str) -> None:
        """Returns when the deployment holds the weights of a phase: nothing changes then until the phase is over."""
        async with asyncio.timeout(COMMAND_LIMIT):
            while True:
                record = await self.deployment(deployment)
                if record["steps"][record["step"]].startswith("hold"):
                    return

    async def deployment(self, deployment: str) -> Any:
        return (await self.hotswap("get", "deployment", deployment, "-o", "json")).json

    async def weights(self, function: str, alias: str = "production") -> dict[str, int]:
        answer = await self.hotswap("alias", "get", f"{function}:{alias}", "-o", "json")
        return dict(answer.json["weights"])

    async def counted(self, function: str) -> dict[tuple[str, int], int]:
        """Invocations by alias and version, as the router counts them now."""
        found: dict[tuple[str, int], int] = {}
        url = f"http://{self.platform.admin}/counters?function={function}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            for row in (await answer.json())["rows"]:
                key = row["alias"], row["version"]
                found[key] = found.get(key, 0) + sum(row["tally"]["counts"][:6])
        return found


@asynccontextmanager
async def staged(
    folder: Path, *, agents: int = 2, workers: int = 2, prometheus: PrometheusSettings | None = None
) -> AsyncIterator[Stage]:
    state = folder / "state"
    async with Platform(state_dir=state, agents=agents, workers=workers, prometheus=prometheus) as platform:
        yield Stage(platform, folder / "functions")
