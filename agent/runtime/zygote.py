"""The process that instances are forked from: it has imported what all of them need, and nothing of their own.

For each message the agent passes five descriptors: what is to be run (`birth.Birth`, as JSON), the bound socket, the
ready descriptor, the file of its load and the output. The answer is the pid, or 0. The end of the agent is the end of
the zygote.

It has one thread and never a loop: a lock that another thread holds at the fork would stay locked in the child.
"""

import gc
import importlib
import os
import socket
import sys
from collections.abc import Iterable
from typing import NoReturn

from . import birth, guise

DESCRIPTORS = 5
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
        message, descriptors, _, _ = socket.recv_fds(channel, 1, DESCRIPTORS)
        if not message:
            os._exit(0)
        pid = _born()
        if pid == 0:
            channel.close()
            return birth.take(*descriptors)
        for one in descriptors:
            os.close(one)
        channel.send(str(pid).encode() if pid else b"0")


def _load(channel: socket.socket, packages: str, bytecode: str, preload: list[str]) -> None:
    """Tells the agent what could not be imported, or what has started threads; then it may not be forked."""
    importlib.import_module(f"{__package__}.serve")
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
