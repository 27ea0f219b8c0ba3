"""A connection to an instance, made within a limit that is the instance's and not the router's.

In a loop that thousands keep busy the limit passes before anybody has looked. Then the kernel knows whether there is a
connection.
"""

import asyncio
import socket
from typing import Any


async def connected(host: str, port: int, *, limit: float) -> socket.socket:
    """By the first of its addresses that takes one, all of them within `limit` seconds. Raises `TimeoutError`, or the
    `OSError` of the last address."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)  # asks nobody
    except socket.gaierror:
        async with asyncio.timeout_at(end):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    refused = OSError("it has no address")
    for family, kind, protocol, _, address in addresses:
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(0)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await _reach(opened, address, end)
        except BaseException as error:
            opened.close()
            if isinstance(error, TimeoutError) or not isinstance(error, OSError):
                raise
            refused = error
        else:
            return opened
    raise refused


async def _reach(opened: socket.socket, address: Any, end: float) -> None:
    try:
        async with asyncio.timeout_at(end):
            await asyncio.get_running_loop().sock_connect(opened, address)
    except TimeoutError:
        if not _is_connected(opened):
            raise


def _is_connected(opened: socket.socket) -> bool:
    try:
        opened.getpeername()
    except OSError:
        return False
    return True
