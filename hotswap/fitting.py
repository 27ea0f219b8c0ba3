"""A document against a schema, in a process of its own that has a limit.

A pattern may take longer than anybody lives, and Python's `re` lets no other thread run meanwhile: so a schema that
somebody published is never tried in a service.
"""

import asyncio
import resource
import subprocess
import sys
from tempfile import TemporaryFile
from typing import IO

import msgspec

from hotswap import schemas
from hotswap.processes import ended

LIMIT = 10.0
"""Seconds."""
MEMORY = 1024 * 1024 * 1024
"""Bytes."""


class Asked(msgspec.Struct, frozen=True):
    wanted: msgspec.Raw
    document: msgspec.Raw


async def misfit(schema: bytes, document: bytes, *, limit: float = LIMIT) -> str | None:
    """What is wrong with a JSON document by the schema, and where in it; `None` if nothing is."""
    with TemporaryFile() as asked, TemporaryFile() as said:
        asked.write(msgspec.json.encode(Asked(msgspec.Raw(schema), msgspec.Raw(document))))
        asked.seek(0)
        process = _begin(asked, said)
        try:
            status = await asyncio.wait_for(ended(process), limit)
        except TimeoutError:
            return f"it cannot be told within {limit:g} s: simplify the patterns of the schema"
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        if status:
            return "it cannot be told with the time and memory that a check may take: simplify the schema"
        return msgspec.json.decode(said.read(), type=str | None)


def _begin(asked: IO[bytes], said: IO[bytes]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", "hotswap.fitting"]
    return subprocess.Popen(command, stdin=asked, stdout=said, stderr=subprocess.DEVNULL)


def main() -> None:
    """Bounds itself too: whoever began it may have died."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(LIMIT), int(LIMIT)))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    found = schemas.violation(msgspec.json.decode(asked.wanted), msgspec.json.decode(asked.document))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
