"""The `hotswap` command as a person runs it: shown, run, its lines told as they come."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Shell:
    stage: Stage
    state_dir: Path

    async def run(self, *arguments: str, config: dict[str, Any] | None = None) -> tuple[int, str]:
        """The exit code and the last line; `config` goes to standard input as JSON."""
        given = f"echo '{json.dumps(config)}' | " if config else ""
        self.stage.say(f"$ {given}hotswap {' '.join(arguments)}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "hotswap", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "HOTSWAP_STATE_DIR": str(self.state_dir), "PYTHONIOENCODING": "utf-8"},
        )
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(config).encode() if config else b"")
            process.stdin.close()
            last = ""
            async for raw in process.stdout:
                last = raw.decode().rstrip()
                self.stage.say(f"  {last}")
            return await process.wait(), last
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def document(self, *arguments: str) -> Any:
        """What a command prints with `-o json`; not shown."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "hotswap", *arguments, "-o", "json"),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "HOTSWAP_STATE_DIR": str(self.state_dir)},
        )
        told, _ = await process.communicate()
        return json.loads(told)
