"""Where clients come in: a listening socket in the poll of the worker."""

import asyncio
import errno
import logging
import select
import socket
from collections.abc import Callable

from router.wire import End, Poll, Watched, Wire

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Connections that are taken in a turn; the others are in the next."""
SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC})
"""There is no descriptor or memory for another connection, or no more may be watched; all else is about one of them."""
REST = 1.0
"""Seconds without taking any then."""


class Door(Watched):
    def __init__(self, poll: Poll, listener: socket.socket, factory: Callable[[], End], *, backlog: int) -> None:
        """Takes the socket."""
        self._poll = poll
        self._listener = listener
        self._factory = factory
        self._resting: asyncio.TimerHandle | None = None
        listener.settimeout(0)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # those that it takes have it from there
        listener.listen(backlog)
        poll.watch(listener.fileno(), self, 0, select.EPOLLIN)

    def happened(self, events: int) -> None:
        for _ in range(AT_ONCE):
            try:
                opened, address = self._listener.accept()
                opened.settimeout(0)
                Wire(self._poll, opened, self._factory(), peer=str(address[0]))
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in SCARCE:
                    self._rest(error)
                    return
                log.debug("a connection is gone before it was taken: %s", error)

    def close(self) -> None:
        if self._resting is None:
            self._poll.watch(self._listener.fileno(), self, select.EPOLLIN, 0)
        else:
            self._resting.cancel()
        self._listener.close()

    def _rest(self, error: OSError) -> None:
        log.warning("no connection can be taken for %g s: %s", REST, error)
        self._poll.watch(self._listener.fileno(), self, select.EPOLLIN, 0)
        self._resting = asyncio.get_running_loop().call_later(REST, self._open_again)

    def _open_again(self) -> None:
        self._resting = None
        self._poll.watch(self._listener.fileno(), self, 0, select.EPOLLIN)
