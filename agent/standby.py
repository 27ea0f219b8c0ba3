"""A place for an instance that does not run: a socket that listens, in the agent's hands.

Its endpoint can be published like any other. The kernel takes the connections and keeps what is sent; the first one
wakes an instance, which is given the very socket and finds all of them waiting. So nobody who connects sees a
difference but the time, and nothing has to be told to a router.
"""

import asyncio
import select

from agent import sockets
from hotswap.model import Endpoint, Version

LEAST_BACKLOG = 1_024
"""Connections that may wait; more if the version's concurrency is greater, as far as the kernel lets."""


class Standby:
    def __init__(self, version: Version, *, instance: str, host: str) -> None:
        """Raises `OSError`."""
        self.version = version
        self.instance = instance
        """Of the instance that it will be."""
        self.listener = sockets.bind(host)
        try:
            self.listener.listen(max(LEAST_BACKLOG, version.manifest.concurrency))
        except BaseException:
            self.listener.close()
            raise
        self.port = sockets.port_of(self.listener)
        self.address = sockets.address(host, self.port)

    def __str__(self) -> str:
        return f'version {self.version.number} of "{self.version.function}"'

    @property
    def waiting(self) -> bool:
        """Whether somebody has connected."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        return bool(poll.poll(0))

    async def called(self) -> None:
        """Returns when somebody has connected."""
        loop = asyncio.get_running_loop()
        called = asyncio.Event()
        loop.add_reader(self.listener, called.set)
        try:
            await called.wait()
        finally:
            loop.remove_reader(self.listener)

    def endpoint(self, node: str) -> Endpoint:
        return Endpoint(
            function=self.version.function,
            version=self.version.number,
            instance=self.instance,
            node=node,
            address=self.address,
            concurrency=self.version.manifest.concurrency,
            standby=True,
        )

    def close(self) -> None:
        """Who waits is the instance's, if that has the socket by now; else the kernel tells them."""
        self.listener.close()
