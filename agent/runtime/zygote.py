"""The process that instances are forked from: it has imported what all of them need, and nothing of their own.

With each message (the arguments of `_told`, as JSON) the agent passes a channel to the new process. The answer is the
pid, or 0. On its channel the new process is told what it is to be, then or later, by five descriptors: what is to be
run (`birth.Birth`, as JSON), the bound socket, the ready descriptor, the file of its load and the output. The end of
the agent is the end of the zygote, and of who waits.

It has one thread and never a loop: a lock that another thread holds at the fork would stay locked in the child.
"""

import gc
import importlib
import json
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from . import birth, guise, limits, rehearsal

DESCRIPTORS = 5
LONGEST = 1 << 16
"""Bytes of a message."""
WAITING = "waits to be an instance"
"""The name of a process that was forked ahead."""
PRELOADED = (
    "a2wsgi",
    "uvicorn.lifespan.on",
    "uvicorn.lifespan.off",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
)
"""What `serve` comes to import by name, beside what it imports itself."""


def run(descriptor: int, packages: str, bytecode: str, preload: list[str]) -> birth.Birth:
    """Forks for as long as the agent lives; returns in each child, with what that is to run. What is preloaded comes
    from the packages, if these are not empty."""
    channel = socket.socket(fileno=descriptor)
    guise.find()
    _load(channel, packages, bytecode, preload)
    gc.collect()
    gc.freeze()  # pages that nobody writes to stay shared
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, LONGEST, 1)
        if not message:
            os._exit(0)
        pid = _born()
        if pid == 0:
            channel.close()
            return _told(socket.socket(fileno=descriptors[0]), **json.loads(message))
        os.close(descriptors[0])
        channel.send(str(pid).encode() if pid else b"0")


def _told(channel: socket.socket, groups: list[str], *, ahead: bool) -> birth.Birth:
    """In a child. `ahead`: nobody waits for it yet, so it rehearses, and says that it waits.

    Raises the `OSError` for which no group can be joined only when it can be printed where somebody will read it.
    """
    guise.name("becomes an instance")
    if "numpy" in sys.modules:  # its generator, unlike Python's own, would be the same in all children
        sys.modules["numpy"].random.seed()
    failed = None
    try:
        limits.join(groups)
    except OSError as error:
        failed = error
    with channel:
        if ahead:
            rehearsal.rehearse()
            guise.name(WAITING)
            with suppress(OSError):  # of an agent that has ended meanwhile, as is told next
                channel.send(b"w")
        message, descriptors, _, _ = socket.recv_fds(channel, 1, DESCRIPTORS)
    if not message:
        os._exit(0)
    born = birth.take(*descriptors)
    if failed:
        raise failed
    return born


def _load(channel: socket.socket, packages: str, bytecode: str, preload: list[str]) -> None:
    """Tells the agent what could not be imported, or what has started threads; then it may not be forked."""
    _import(channel, PRELOADED)
    if packages:
        sys.pycache_prefix = bytecode
        sys.path.insert(0, packages)
        _import(channel, preload)
        sys.path.remove(packages)
    else:
        _import(channel, preload)
    channel.send(b"ready")


def _import(channel: socket.socket, names: Iterable[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            _refuse(channel, f'"{name}" cannot be preloaded: {type(error).__name__}: {error}')
        if _threads() > 1 and _threads_after_a_fork() > 1:
            _refuse(channel, f'"{name}" starts threads when it is imported, so it cannot be preloaded')


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _threads_after_a_fork() -> int:
    """Who knows of forks ends its threads before each, and starts them again when they are needed; as numpy's BLAS."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return _threads()


def _refuse(channel: socket.socket, why: str) -> NoReturn:
    channel.send(why.encode(errors="replace")[:2000])
    os._exit(1)


def _born() -> int:
    """0 in the new process; in the zygote its pid, or -1 when there can be none.

    The process in between ends at once, so that the agent, which takes in what has lost its parent, becomes the parent:
    it is the one that waits for it and learns how it ended.
    """
    read, write = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            pid = os.fork()
        except OSError:
            os._exit(1)
        if pid:
            os.write(write, pid.to_bytes(8, "big"))
            os._exit(0)
        os.close(read)
        os.close(write)
        return 0
    os.close(write)
    told = os.read(read, 8)
    os.close(read)
    os.waitpid(between, 0)
    return int.from_bytes(told, "big") if told else -1
