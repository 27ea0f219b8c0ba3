"""The two backends: an nginx each, so that each counts what it was asked, and answers that cost next to nothing."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.router.case import WEIGHTS
from benchmarks.router.process import Unusable, free_ports, serving
from benchmarks.router.programs import find

COUNTS = "/counts"
COUNTED = re.compile(rb"\s(\d+) (\d+) (\d+)\s")
"""Of nginx's stub_status: connections accepted, connections handled, requests."""


@dataclass(frozen=True)
class Count:
    """Since the start."""

    connections: int
    requests: int

    def __add__(self, other: "Count") -> "Count":
        return Count(self.connections + other.connections, self.requests + other.requests)

    def __sub__(self, other: "Count") -> "Count":
        return Count(self.connections - other.connections, self.requests - other.requests)


class Backend:
    """One of the two, with a connection to ask it for its count."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.port = port
        self._reader = reader
        self._writer = writer
        self._asked = 0

    @classmethod
    async def reach(cls, port: int) -> Self:
        return cls(port, *await asyncio.open_connection("127.0.0.1", port))

    async def count(self) -> Count:
        """Without the requests for the count itself."""
        self._writer.write(f"GET {COUNTS} HTTP/1.1\r\nHost: backend\r\n\r\n".encode())
        self._asked += 1
        head = await self._reader.readuntil(b"\r\n\r\n")
        body = await self._reader.readexactly(_length(head))
        counted = parse(body)
        return Count(counted.connections, counted.requests - self._asked)

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def backends(folder: Path) -> AsyncIterator[list[Backend]]:
    """One for each version."""
    nginx = find("nginx")
    if nginx is None:
        raise Unusable("the backends are nginx, which is not installed")
    async with AsyncExitStack() as stack:
        made = []
        for number in WEIGHTS:
            here = folder / f"backend-{number}"
            here.mkdir()
            (port,) = free_ports(1)
            (here / "nginx.conf").write_text(config(here, number=number, port=port))
            (here / "64k").write_bytes(b"x" * 65_536)
            (here / "1m").write_bytes(b"y" * 1_048_576)
            await stack.enter_async_context(serving(command(nginx, here), here, port, ready=COUNTS))
            made.append(await Backend.reach(port))
            stack.callback(made[-1].close)
        yield made


def config(folder: Path, *, number: int, port: int) -> str:
    return f"""{preamble(folder)}
http {{
  {paths(folder)}
  access_log off;
  default_type application/octet-stream;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=10;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    add_header Backend {number};
    add_header Cache-Control "private, max-age=60";
    location = {COUNTS} {{ stub_status; }}
    location ~ /64k$ {{ alias {folder}/64k; }}
    location ~ /1m$ {{ # a replacement whose length nobody knows beforehand makes it chunked
      alias {folder}/1m;
      sub_filter_types *;
      sub_filter y y;
      output_buffers 4 64k;
    }}
    location / {{ return 200 "ok"; }}
  }}
}}
"""


def command(nginx: str, folder: Path) -> list[str]:
    """With its configuration in this folder."""
    return [nginx, "-p", f"{folder}", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/errors"]


def preamble(folder: Path) -> str:
    """Of an nginx with one worker that writes nowhere but to this folder."""
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""daemon off;
{user}
pid {folder}/pid;
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}"""


def paths(folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)


def parse(body: bytes) -> Count:
    match = COUNTED.search(body)
    if match is None:
        raise ValueError(f"not what stub_status says: {body!r}")
    return Count(int(match[1]), int(match[3]))


def off_balance(counts: Sequence[int], *, waiting: int = 0) -> str | None:
    """What is wrong with how requests were shared, or `None`. Some pick by chance: five deviations are let be.

    What a backend counts is not what was picked: `waiting` requests at most wait in front of the two, and may all be
    for one of them. The first, which has nine tenths of the work, is behind as soon as the two want for processor.
    """
    total = sum(counts)
    if not total:
        return "no backend had a request"
    due = WEIGHTS[2] / 100
    share = counts[1] / total
    unseen = waiting / total * (due if share > due else 1 - due)
    allowed = 5 * (due * (1 - due) / total) ** 0.5 + 2 / total + unseen
    if abs(share - due) <= allowed:
        return None
    return f"{share:.1%} of {total} requests went to the second backend; {due:.0%} were due"


def _length(head: bytes) -> int:
    match = re.search(rb"(?i)content-length: (\d+)", head)
    if match is None:
        raise ValueError(f"an answer without a length: {head!r}")
    return int(match[1])
