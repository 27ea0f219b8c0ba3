"""When an instance is ready: it said so, or takes connections; and it answered the sample payload."""

import asyncio
import secrets
from typing import BinaryIO

import aiohttp
import msgspec

from agent import output, sockets
from agent.cause import Cause
from agent.instance import Instance, StartFailed
from agent.processes import session_members
from hotswap.model import Kind

PROBE_EVERY = 0.02
"""Seconds between two attempts to connect to a program that starts."""
EXIT_LIMIT = 5.0
"""Seconds for a process to end that has closed its ready descriptor."""
LINE_BYTES = 1 << 20
INVOCATION_PATH = "/2015-03-31/functions/function/invocations"


class Failure(msgspec.Struct, frozen=True):
    """Why a function cannot be started, as its runtime tells it."""

    what: str
    type: str
    message: str
    traceback: list[str]

    def __str__(self) -> str:
        return "\n".join([f"{self.what}: {self.type}: {self.message}", *self.traceback])


class ReadyLine(msgspec.Struct, frozen=True):
    ready: dict[str, float] = {}
    failed: Failure | None = None


async def until_ready(instance: Instance, ready: BinaryIO) -> None:
    """Raises `StartFailed`; closes `ready`."""
    limit = instance.version.manifest.start_timeout.total_seconds()
    try:
        async with asyncio.timeout(limit):
            line = await _line(ready)
            if line is not None:
                instance.figures = line.ready
            elif instance.version.manifest.kind is Kind.HTTP:
                await _until_connected(instance)
            else:
                await _ended(instance)
    except TimeoutError:
        raise StartFailed(f"not ready after {limit:g} s{_last_lines(instance)}") from None


async def warm(instance: Instance, session: aiohttp.ClientSession) -> None:
    """Sends the sample payload, if there is one; raises `StartFailed` unless the answer is good."""
    manifest = instance.version.manifest
    if not isinstance(manifest.sample_payload, msgspec.Raw):
        return
    path = INVOCATION_PATH if manifest.kind is Kind.HANDLER else "/"
    headers = {
        "Content-Type": "application/json",
        "Hotswap-Request-Id": f"warm-{secrets.token_hex(8)}",
        "Hotswap-Function": instance.version.function,
        "Hotswap-Version": str(instance.version.number),
        "Connection": "close",
    }
    limit = aiohttp.ClientTimeout(total=manifest.timeout.total_seconds())
    url = f"http://{instance.address}{path}"
    try:
        async with session.post(url, data=bytes(manifest.sample_payload), headers=headers, timeout=limit) as answer:
            text = await answer.text(errors="replace")
    except TimeoutError:
        raise StartFailed(f"no answer to the sample payload within {limit.total:g} s{_last_lines(instance)}") from None
    except aiohttp.ClientError as error:
        raise StartFailed(f"no answer to the sample payload: {error}{_last_lines(instance)}") from error
    if answer.status >= 500:
        raise StartFailed(f"the sample payload is answered with {answer.status}: {text[:2000]}{_last_lines(instance)}")


async def _line(ready: BinaryIO) -> ReadyLine | None:
    """The line, or `None` when the descriptor closed without one; raises `StartFailed` if it tells a failure."""
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), ready
    )
    try:
        text = await reader.readline()
        line = msgspec.json.decode(text, type=ReadyLine) if text else None
    except (ValueError, msgspec.DecodeError) as error:
        raise StartFailed(f"what it tells of its start cannot be read: {error}") from error
    finally:
        transport.close()
    if line is None:
        return None
    if line.failed:
        raise StartFailed(str(line.failed), final=True)
    return line


async def _until_connected(instance: Instance) -> None:
    """Until the program itself takes connections: its port may be another's by now."""
    while instance.process.running:
        members = session_members(instance.process.pid)
        if await sockets.answers(instance.host, instance.port) and sockets.listens(members, instance.port):
            return
        await asyncio.sleep(PROBE_EVERY)
    await _ended(instance)


async def _ended(instance: Instance) -> None:
    done, _ = await asyncio.wait([instance.process.exited], timeout=EXIT_LIMIT)
    how = instance.process.exited.result() if done else "closed its ready descriptor"
    cause = instance.process.because or Cause.START
    raise StartFailed(f"{how} before it was ready{_last_lines(instance)}", cause=cause)


def _last_lines(instance: Instance) -> str:
    lines = output.tail(instance.log)
    return f"\nits last lines:\n{lines}" if lines else "; it printed nothing"
