"""A TCP proxy on loopback that a test can hold, cut and let go, so that what is lost is lost on purpose."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes both ways; what is held stays inside until it is let go, or is lost with a cut."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._pass_requests = _open()
        self._pass_answers = _open()
        self._connections: set[asyncio.Task[None]] = set()
        self.holds = asyncio.Event()
        """Set while something is held inside."""
        self.accepted = 0
        """Connections ever taken."""
        self.answers = 0
        """Times that something came back from the target."""
        self.requested = 0
        """Bytes that were passed on to the target."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def hold_requests(self) -> None:
        self._pass_requests.clear()

    def hold_answers(self) -> None:
        self._pass_answers.clear()

    def let_go(self) -> None:
        self._pass_requests.set()
        self._pass_answers.set()
        self.holds.clear()

    async def cut(self) -> None:
        """Ends all connections; what was held is lost. New ones are taken."""
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(set(self._connections))
        self.let_go()

    async def close(self) -> None:
        """Cut, and new connections are refused."""
        if self._server:
            self._server.close()
        await self.cut()
        if self._server:
            await self._server.wait_closed()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.accepted += 1
        self._connections.add(task)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._join(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as tasks:
                requests = tasks.create_task(self._pump(reader, upstream_writer, self._pass_requests))
                answers = tasks.create_task(self._pump(upstream_reader, writer, self._pass_answers))
                await asyncio.wait({requests, answers}, return_when=asyncio.FIRST_COMPLETED)
                requests.cancel()
                answers.cancel()
        finally:
            upstream_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                self.answers += gate is self._pass_answers
                if not gate.is_set():
                    self.holds.set()
                    await gate.wait()
                self.requested += len(data) if gate is self._pass_requests else 0
                sink.write(data)
                await sink.drain()


@asynccontextmanager
async def proxied(target: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()


def _open() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
