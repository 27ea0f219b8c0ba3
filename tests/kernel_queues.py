"""What the kernel holds of the connections on loopback, as /proc/net/tcp tells it."""

import socket
from dataclasses import dataclass
from pathlib import Path

TABLE = Path("/proc/net/tcp")


@dataclass(frozen=True)
class Queues:
    """Of one end of a connection, in bytes."""

    unacknowledged: int
    """Written here, and not at the other end yet."""
    unread: int
    """Come here, and not read yet."""


EMPTY = Queues(0, 0)


@dataclass
class Passage:
    """Two sockets of ours with a process between them, which reads what is pushed at one and writes it to the other."""

    source: socket.socket
    sink: socket.socket
    pushed: int = 0
    pulled: int = 0

    def push(self) -> int:
        """As much as the kernel takes."""
        before = self.pushed
        try:
            while True:
                self.pushed += self.source.send(bytes(65_536))
        except BlockingIOError:
            return self.pushed - before

    def pull(self) -> int:
        try:
            size = len(self.sink.recv(65_536))
        except BlockingIOError:
            return 0
        self.pulled += size
        return size

    def inside(self) -> int:
        """What has been read of it in the middle and not been written. It holds while nothing moves."""
        told = _queues()
        near, far = _ports(self.source)
        read = self.pushed - told.get((near, far), EMPTY).unacknowledged - told.get((far, near), EMPTY).unread
        near, far = _ports(self.sink)
        written = self.pulled + told.get((near, far), EMPTY).unread + told.get((far, near), EMPTY).unacknowledged
        return read - written


def _ports(sock: socket.socket) -> tuple[int, int]:
    return sock.getsockname()[1], sock.getpeername()[1]


def _queues() -> dict[tuple[int, int], Queues]:
    """By the port of the one end and that of the other."""
    found = {}
    for line in TABLE.read_text().splitlines()[1:]:
        _, near, far, _, sizes, *_ = line.split()
        unacknowledged, unread = (int(size, 16) for size in sizes.split(":"))
        ports = (int(near.rpartition(":")[2], 16), int(far.rpartition(":")[2], 16))
        found[ports] = Queues(unacknowledged, unread)
    return found
