"""The sockets of a worker, read and written at once, by callbacks.

A transport of the loop's comes between: it asks for a buffer and tells of it by calls of the interpreter, one by one,
and keeps what is written until it has read all that has come. Here all sockets stand in one epoll, and with them what
the loop itself asks about (`router.loop`). A turn goes over those that have something, and calls whoever is at their
end. What is written goes out at once: whoever has its bytes works on them on another core while this one reads on, so
instances and clients idle less, and there are more requests a second for the same work.
"""

import asyncio
import contextlib
import logging
import os
import select
import socket
import struct
from typing import Final

from mypy_extensions import mypyc_attr

from router.wheel import Timed

log = logging.getLogger(__name__)

IN: Final = int(select.EPOLLIN)
OUT: Final = int(select.EPOLLOUT)
MOST: Final = 512
"""Sockets of a turn."""
SO_MEMINFO: Final = 55
"""Linux; Python does not name it."""
MEMINFO: Final = struct.Struct("=9I")
SNDBUF: Final = 3
WMEM_QUEUED: Final = 5

_read: Final = os.read
_write: Final = os.write
_writev: Final = os.writev


@mypyc_attr(allow_interpreted_subclasses=True)
class End(Timed):
    """Who reads and writes over a wire. A class and no protocol of `typing`, like all that is called for each request:
    the compiler calls directly what a class declares."""

    def connection_made(self, wire: "Wire") -> None:
        raise NotImplementedError

    def takes(self) -> int:
        """How many bytes with the next read, at least one."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        raise NotImplementedError

    def eof_received(self) -> bool:
        """The other side sends no more; whether it is written to further."""
        raise NotImplementedError

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed, in a turn of its own; the error unless it was closed from here or by the other side."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The kernel did not take all; the rest is kept."""
        raise NotImplementedError

    def resume_writing(self) -> None:
        """It has."""
        raise NotImplementedError


NOBODY: Final = End()
"""At the end of a wire that is cut."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Watched:
    """What stands in a poll."""

    def happened(self, events: int) -> None:
        """A hint: by now it may be another's socket that has the number."""
        raise NotImplementedError


class Poll:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: list[Watched | None] = []
        """By number of the file, which are given out from the least on."""

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        """Nothing that stands in it is told anything more."""
        self._epoll.close()

    def watch(self, fd: int, watched: Watched, before: int, events: int) -> None:
        """From now on for these `events`; `before` are those until now."""
        if not before:
            self._epoll.register(fd, events)
            while len(self._watched) <= fd:
                self._watched.append(None)
            self._watched[fd] = watched
        elif self._watched[fd] is not watched:  # it was closed, and by now the number is another's
            return
        elif events:
            self._epoll.modify(fd, events)
        else:
            self._epoll.unregister(fd)
            self._watched[fd] = None

    def turn(self, timeout: float = 0.0) -> None:
        """Waits so many seconds at most until something happens, without a limit if they are less than none."""
        for fd, events in self._epoll.poll(timeout, MOST):
            watched = self._watched[fd]
            if watched is not None:
                try:
                    watched.happened(events)
                except Exception:  # the others have nothing to do with it
                    log.exception("a fault of the router")


@mypyc_attr(allow_interpreted_subclasses=True)
class Wire(Watched):
    """A connected socket, and what the kernel has not taken yet of what was written to it."""

    peer = ""
    """The address of the other side, without the port."""
    _left = b""
    _events = 0
    _eof = False
    closing = False

    def __init__(self, poll: Poll, opened: socket.socket, end: End, *, peer: str = "") -> None:
        """Takes the socket, which does not block, and reads from it. Raises `OSError` when it cannot be watched."""
        self._poll = poll
        self._socket = opened
        self._fd = opened.fileno()
        self._end = end
        self.peer = peer
        try:
            self._watch(IN)
        except OSError:
            opened.close()
            raise
        end.connection_made(self)

    def write(self, data: bytes) -> None:
        if self._left or self.closing:
            self._behind(data)
            return
        try:
            written = _write(self._fd, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._fail(error)
            return
        if written < len(data):
            self._behind(data[written:])

    def write_parts(self, parts: tuple[bytes, bytes, bytes]) -> None:
        """For large ones: they are not copied to be put together."""
        if self._left or self.closing:
            self._behind(b"".join(parts))
            return
        try:
            written = _writev(self._fd, parts)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._fail(error)
            return
        if written < len(parts[0]) + len(parts[1]) + len(parts[2]):
            self._behind(b"".join(parts)[written:])

    def write_eof(self) -> None:
        """When what was written is out; the other side may go on."""
        self._eof = True
        if not self._left and not self.closing:
            self._shut()

    def pause_reading(self) -> None:
        self._watch(self._events & ~IN)

    def resume_reading(self) -> None:
        if not self.closing:
            self._watch(self._events | IN)

    def close(self) -> None:
        """When what was written is out."""
        if not self.closing:
            self.closing = True
            self._watch(self._events & ~IN)
            if not self._left:
                self._lose(None)

    def abort(self) -> None:
        """At once."""
        if self._left or not self.closing:
            self.closing = True
            self._lose(None)

    def space(self) -> int:
        """Bytes that the kernel has room for, of what is written; 0 where it does not tell."""
        try:
            told = MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size))
        except (OSError, struct.error):
            return 0
        return int(told[SNDBUF]) - int(told[WMEM_QUEUED])

    def happened(self, events: int) -> None:
        try:
            if self._left and events & ~IN:
                self._flush()
            if self._events & IN and events & ~OUT:
                self._receive()
        except Exception as error:
            log.exception("a connection failed by a fault of the router")
            self._fail(error)

    def _receive(self) -> None:
        try:
            data = _read(self._fd, self._end.takes())
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        if data:
            self._end.data_received(data)
        elif self._end.eof_received():
            self.pause_reading()
        else:
            self.close()

    def _behind(self, data: bytes) -> None:
        if self.closing:
            return
        first = not self._left
        self._left += data
        if first:
            self._watch(self._events | OUT)
            self._end.pause_writing()

    def _flush(self) -> None:
        try:
            written = _write(self._fd, self._left)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        self._left = self._left[written:]
        if self._left:
            return
        self._watch(self._events & ~OUT)
        if self.closing:
            self._lose(None)
            return
        if self._eof:
            self._shut()
        self._end.resume_writing()

    def _shut(self) -> None:
        with contextlib.suppress(OSError):  # the other side is gone, which the next read tells
            self._socket.shutdown(socket.SHUT_WR)

    def _watch(self, events: int) -> None:
        if events != self._events:
            before, self._events = self._events, events
            self._poll.watch(self._fd, self, before, events)

    def _fail(self, error: Exception) -> None:
        if self._left or not self.closing:
            self.closing = True
            self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        self._left = b""
        self._watch(0)
        asyncio.get_running_loop().call_soon(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        end, self._end = self._end, NOBODY
        try:
            end.connection_lost(error)
        finally:
            self._socket.close()
