"""Property-based requests, made from the OpenAPI document, against a live controller.

    python -m tests.rest_fuzzing [--examples N] [--seed S]        see scripts/fuzz-rest

None may be answered by a 5xx or by a status, a header or a body that the document does not have; what the document
rules out must be refused. That all it allows is accepted is not asked: no schema says that weights add up to 100.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from controller.api.rest import streaming
from hotswap.etcd.local import running
from hotswap.settings import EtcdSettings
from tests.controller_platform import FUNCTION
from tests.rest import World, world_on

CONFIGURATION = f"""
[dictionaries]
functions = {{ values = ["{FUNCTION}"] }}
aliases = {{ values = ["production", "staging"] }}
versions = {{ values = [1, 2, 3] }}
deployments = {{ values = ["DEPLOYMENTS"] }}

[parameters]
"path.function" = {{ dictionary = "functions", probability = 0.7 }}
"path.alias" = {{ dictionary = "aliases", probability = 0.7 }}
"path.version" = {{ dictionary = "versions", probability = 0.7 }}
"path.deployment" = {{ dictionary = "deployments", probability = 0.7 }}
"body.functionName" = {{ dictionary = "functions", probability = 0.8 }}
"body.version" = {{ dictionary = "versions", probability = 0.8 }}

[checks]
enabled = true
positive_data_acceptance.enabled = false
"""
"""What is there, so that most requests get as far as to something."""
STREAMED = 0.5
"""Seconds for one stream, or a request for that of a deployment that runs would not end."""
LIMIT = 3600.0
"""Seconds for all of it."""


async def fuzz(world: World, folder: Path, *, examples: int, seed: int) -> tuple[int, str]:
    """The exit code, 0 when nothing was found, and the report. Streams of what runs must be short: see `STREAMED`."""
    await world.deployed(1)
    known = [await world.deployed(2), await world.running(3)]
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.replace("DEPLOYMENTS", '", "'.join(known)))
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("schemathesis"), "--no-color", "--config-file", configuration),
        *("run", f"http://{world.rest.address}/api/v1/openapi.json", "--request-timeout", "60", "--warnings", "off"),
        *("--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none"),
        *("--suppress-health-check", "all"),  # how long a request takes to be made up tells nothing of ours
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, told.decode()


async def main() -> int:
    streaming.STREAM_LIMIT = STREAMED
    options = argparse.ArgumentParser(description="Fuzz the REST interface of a controller of its own.")
    options.add_argument("--examples", type=int, default=1000, help="requests for each operation and phase (1000)")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        async with (
            running(folder / "etcd") as server,
            world_on(EtcdSettings(endpoints=(server.endpoint,)), folder) as world,
        ):
            code, told = await fuzz(world, folder, examples=given.examples, seed=given.seed)
    print(told)
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
