"""A real Prometheus, as Debian and others package it."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

START_LIMIT = 60.0
ASK_EVERY = 0.1


def program(name: str) -> str:
    """A program of Prometheus's; the test fails without it, since nothing else says whether it understands us."""
    found = shutil.which(name)
    assert found, f"{name} was not found on PATH: install the package prometheus (scripts/test does where it may)"
    return found


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def prometheus(
    targets: Sequence[str], folder: Path, *, path: str = "/metrics", address: str = ""
) -> AsyncIterator[str]:
    """A real one that scrapes the targets twice a second; its address."""
    job = {"job_name": "router", "metrics_path": path, "static_configs": [{"targets": list(targets)}]}
    config = {"global": {"scrape_interval": "500ms"}, "scrape_configs": [job]}
    file = folder / "prometheus.json"
    file.write_text(json.dumps(config))  # JSON is YAML
    address = address or free_address()
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        yield address
    finally:
        process.terminate()
        await process.wait()


async def told(session: aiohttp.ClientSession, address: str, query: str) -> float | None:
    """What Prometheus answers; `None` while it does not, or knows nothing."""
    try:
        async with session.get(f"http://{address}/api/v1/query", params={"query": query}) as answer:
            found = (await answer.json())["data"]["result"] if answer.status == 200 else []
    except aiohttp.ClientConnectionError:
        return None
    return float(found[0]["value"][1]) if found else None


async def equals(session: aiohttp.ClientSession, address: str, query: str, value: float) -> None:
    """Returns when Prometheus has scraped this value."""
    seen: float | None = None
    try:
        async with asyncio.timeout(START_LIMIT):
            while (seen := await told(session, address, query)) != pytest.approx(value):  # noqa: ASYNC110 - it tells when asked
                await asyncio.sleep(ASK_EVERY)
    except TimeoutError:
        pytest.fail(f"{query} is {seen} to Prometheus, and {value} to the router")
