"""A real etcd cluster of three members on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from hotswap.etcd.local import LocalEtcd

NAMES = ("one", "two", "three")


@asynccontextmanager
async def clustered(folder: Path) -> AsyncIterator[list[LocalEtcd]]:
    peers = dict(zip(NAMES, _peer_urls(), strict=True))
    cluster = ",".join(f"{name}={url}" for name, url in peers.items())
    members = [LocalEtcd(folder / name, options=_options(name, url, cluster)) for name, url in peers.items()]
    try:
        await asyncio.gather(*(member.start() for member in members))
        yield members
    finally:
        await asyncio.gather(*(member.kill() for member in members))


def _options(name: str, url: str, cluster: str) -> list[str]:
    told = ["--name", name, "--initial-cluster", cluster, "--initial-cluster-state", "new"]
    return [*told, "--listen-peer-urls", url, "--initial-advertise-peer-urls", url]


def _peer_urls() -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in NAMES]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"http://127.0.0.1:{one.getsockname()[1]}" for one in sockets]
