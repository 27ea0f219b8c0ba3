"""The sockets of instances, seen from outside: made, probed, and looked at for connections that are left."""

import asyncio
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
ESTABLISHED, LISTENING = "01", "0A"
"""States of a socket, as the kernel writes them."""
DRAIN_EVERY = 0.05
"""Seconds between two looks at the connections,"""
SPARSENESS = 10
"""of which at most one part in so many is spent on looking: the kernel tells of all connections of the machine."""


def bind(host: str) -> socket.socket:
    """A socket on a free port, to be passed to an instance; not yet listening."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, 0))
    except BaseException:
        bound.close()
        raise
    return bound


def free_port(host: str) -> int:
    """For a program that binds by itself; another may take it first."""
    with bind(host) as bound:
        return port_of(bound)


def port_of(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def answers(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.transport.abort()
    return True


async def drained(port: int) -> None:
    """Returns when no connection to the port is established."""
    clock = time.monotonic
    began = clock()
    while await asyncio.to_thread(connections, port):  # the kernel tells nobody when a connection ends
        await asyncio.sleep(max(DRAIN_EVERY, (clock() - began) * SPARSENESS))
        began = clock()


def connections(port: int) -> int:
    """How many connections to a local port are established, by whatever process."""
    return len(_inodes(port, ESTABLISHED))


def listens(pids: Iterable[int], port: int) -> bool:
    """Whether one of the processes is the one that listens on a local port."""
    listeners = {f"socket:[{inode}]" for inode in _inodes(port, LISTENING)}
    return any(link in listeners for pid in pids for link in _open_files(pid))


def _inodes(port: int, state: str) -> list[str]:
    """Of the sockets on a local port that are in a state."""
    end = f":{port:04X}"  # to look for it first costs a tenth of taking every line apart
    lines = [line for table in TABLES if table.exists() for line in table.read_text().splitlines() if end in line]
    rows = (line.split(maxsplit=10) for line in lines)
    return [row[9] for row in rows if row[3] == state and row[1].endswith(end)]


def _open_files(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(entry.path)
