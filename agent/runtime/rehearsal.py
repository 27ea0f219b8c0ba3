"""One invocation that nobody made, in a process that waits to be an instance.

A forked process shares its memory with the zygote until it writes to it; each page that it writes to for the first time
is copied then, which makes a third of a start. So it goes through one while nobody waits: it serves a handler of ours
on a socket that only it knows, is asked once, and ends as after SIGTERM. Nothing of that is left but the pages.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from . import load, serve
from .limits import Limits
from .order import Order

ASKED = (
    b"POST /2015-03-31/functions/function/invocations HTTP/1.1\r\nHost: rehearsal\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nHotswap-Request-Id: rehearsal\r\nContent-Length: 2\r\n\r\n{}"
)
LIMIT = 5.0
"""Seconds for each step of it."""


class Unfit(Exception):
    """Something is left, or nothing was answered: no instance should be made of this process."""


def handler(event: Any, context: Any) -> Any:
    return event


def rehearse() -> None:
    """Raises `Unfit`, and whatever else may go wrong."""
    before, path = _state(), list(sys.path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # the kernel gives it a name that is no file's
        listener.listen()
        client = Client(listener.getsockname())
        client.start()
        read, write = os.pipe()
        serve.run(_order(os.dup(listener.fileno()), write))
        client.join(LIMIT)
        os.close(read)
    sys.path[:] = path
    for number, found in handlers.items():  # a loop that is closed leaves its own
        signal.signal(number, found)
    asyncio.set_event_loop_policy(None)
    gc.collect()
    _wait_for_threads()
    if not client.answer.startswith(b"HTTP/1.1 200 "):
        raise Unfit(f"it answers {client.answer!r}")
    if (after := _state()) != before:
        raise Unfit(f"{before} became {after}")


class Client(threading.Thread):
    def __init__(self, address: Any) -> None:
        super().__init__(name="rehearsal", daemon=True)
        self.answer = b""
        self._address = address

    def run(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(LIMIT)
                connection.connect(self._address)
                connection.sendall(ASKED)
                self.answer = connection.recv(1 << 16)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)


def _order(listener: int, ready: int) -> Order:
    memory = os.memfd_create("load")
    os.truncate(memory, load.SIZE)
    return Order(
        function="rehearsal",
        version=0,
        kind="handler",
        entrypoint=f"{__name__}:handler",
        code="",
        packages="",
        socket=listener,
        ready=ready,
        concurrency=1,
        timeout=LIMIT,
        memory=0,
        load=memory,
        limits=Limits(0, 0, 0, []),
    )


def _state() -> tuple[object, ...]:
    """What a function could find changed."""
    return sorted(_opened()), threading.active_count(), sys.stdout, sys.stderr


def _opened() -> Iterator[str]:
    """Without pipes, of which libuv keeps one for the signals of whatever loop there is."""
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # of the list itself
            link = os.readlink(f"/proc/self/fd/{number}")
            if not link.startswith("pipe:"):
                yield link


def _wait_for_threads() -> None:
    """Those that have nothing more to do take a moment to end."""
    ends = time.monotonic() + LIMIT
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > ends:
            raise Unfit("a thread goes on")
        time.sleep(0.001)
