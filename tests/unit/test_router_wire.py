"""Wires over real sockets: whatever is written arrives, in its order, and each end hears how it ends."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from router.door import Door
from router.wire import End, Poll, Wire
from tests.conditions import eventually
from tests.polling import polling

SIZES = st.lists(st.sampled_from([1, 100, 65_536, 500_000]), min_size=1, max_size=8)
MORE_THAN_FITS = b"x" * 4_000_000


class Hearing(End):
    """Keeps what it hears."""

    def __init__(self, *, most: int = 65_536, half: bool = False) -> None:
        self.most = most
        self.half = half
        self.received = b""
        self.behind = self.ended = False
        self.lost: list[Exception | None] = []
        self.fails = False

    def connection_made(self, wire: Wire) -> None:
        self.wire = wire

    def takes(self) -> int:
        return self.most

    def data_received(self, data: bytes) -> None:
        assert 0 < len(data) <= self.most
        if self.fails:
            raise ValueError("for the test")
        self.received += data

    def eof_received(self) -> bool:
        self.ended = True
        return self.half

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)

    def pause_writing(self) -> None:
        self.behind = True

    def resume_writing(self) -> None:
        self.behind = False


def wired(poll: Poll, end: Hearing) -> tuple[Wire, socket.socket]:
    """And the other side."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return Wire(poll, ours, end), theirs


@pytest_asyncio.fixture
async def poll() -> AsyncIterator[Poll]:
    with polling() as found:
        yield found


async def taken(side: socket.socket, size: int) -> bytes:
    """All that comes on this side, until so many bytes or its end."""
    found = b""
    async with asyncio.timeout(20):
        while len(found) < size and (data := await asyncio.get_running_loop().sock_recv(side, 65_536)):
            found += data
    return found


@given(SIZES, SIZES)
@settings(max_examples=20, deadline=None)
async def test_bytes_arrive_in_their_order_however_slowly_they_are_taken(first: list[int], then: list[int]) -> None:
    with polling() as poll:
        end = Hearing()
        wire, theirs = wired(poll, end)
        sent = b""
        for sizes in (first, then):
            for size in sizes:
                data = (bytes(range(251)) * (size // 251 + 1))[len(sent) % 7 : size]
                parts = (b"%d" % size, data, b"\r\n")
                if len(sent) % 2:
                    wire.write(b"".join(parts))
                else:
                    wire.write_parts(parts)
                sent += b"".join(parts)
            await asyncio.sleep(0)
        wire.close()
        assert await taken(theirs, len(sent) + 1) == sent
        await eventually(lambda: end.lost == [None])
        theirs.close()


async def test_an_end_reads_no_more_at_a_time_than_it_takes_and_nothing_while_it_pauses(poll: Poll) -> None:
    end = Hearing(most=7)
    wire, theirs = wired(poll, end)
    theirs.send(b"a" * 100)
    await eventually(lambda: len(end.received) == 100)
    wire.pause_reading()
    theirs.send(b"b")
    theirs.shutdown(socket.SHUT_WR)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (len(end.received), end.ended) == (100, False)
    wire.resume_reading()
    await eventually(lambda: end.lost == [None])
    assert end.received.endswith(b"b")
    theirs.close()


async def test_an_end_that_lags_behind_is_told_and_told_again_when_all_is_out(poll: Poll) -> None:
    end = Hearing()
    wire, theirs = wired(poll, end)
    wire.write(MORE_THAN_FITS)
    assert end.behind
    wire.write(b"last")
    assert (await taken(theirs, len(MORE_THAN_FITS) + 4)).endswith(b"xlast")
    await eventually(lambda: not end.behind)
    wire.abort()
    await eventually(lambda: end.lost == [None])
    theirs.close()


async def test_what_was_written_before_the_end_of_one_side_is_out_before_it(poll: Poll) -> None:
    end = Hearing(half=True)
    wire, theirs = wired(poll, end)
    wire.write(MORE_THAN_FITS)
    wire.write_eof()
    assert len(await taken(theirs, len(MORE_THAN_FITS) + 1)) == len(MORE_THAN_FITS)
    theirs.send(b"still heard")
    await eventually(lambda: end.received == b"still heard")
    theirs.shutdown(socket.SHUT_WR)
    await eventually(lambda: end.ended)
    assert not end.lost, "it is its own to close"
    wire.close()
    await eventually(lambda: end.lost == [None])
    theirs.close()


async def test_an_abort_drops_what_was_not_out(poll: Poll) -> None:
    end = Hearing()
    wire, theirs = wired(poll, end)
    wire.write(MORE_THAN_FITS)
    wire.close()
    wire.abort()
    wire.abort()
    await eventually(lambda: end.lost == [None])
    assert 0 < len(await taken(theirs, len(MORE_THAN_FITS))) < len(MORE_THAN_FITS)
    theirs.close()


@pytest.mark.parametrize("writes", [True, False])
async def test_a_connection_that_breaks_is_told_with_its_error(poll: Poll, *, writes: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    end = Hearing()
    wire = Wire(poll, ours, end)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    if writes:
        wire.pause_reading()
        while not wire.closing:
            wire.write(b"x")
    await eventually(lambda: len(end.lost) == 1)
    assert isinstance(end.lost[0], ConnectionError)


async def test_nothing_is_written_to_the_descriptor_of_a_wire_that_is_closed() -> None:
    with polling() as poll:
        end = Hearing()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        wire = Wire(poll, ours, end)
        wire.abort()
        await eventually(lambda: ours.fileno() == -1)
        reused, other = socket.socketpair()  # one of them has the number now
        wire.write(b"secret")
        wire.write_parts((b"secret", b"", b""))
        wire.resume_reading()
        for side in (reused, other):
            side.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                assert side.recv(10) == b""
            side.close()
        theirs.close()


async def test_a_fault_of_an_end_costs_its_own_connection_and_no_other(
    poll: Poll, caplog: pytest.LogCaptureFixture
) -> None:
    faulty, sound = Hearing(), Hearing()
    (_, theirs), (wire, others) = wired(poll, faulty), wired(poll, sound)
    faulty.fails = True
    theirs.send(b"x")
    others.send(b"y")
    await eventually(lambda: bool(faulty.lost) and sound.received == b"y")
    assert isinstance(faulty.lost[0], ValueError)
    assert "by a fault of the router" in caplog.text
    wire.abort()
    await eventually(lambda: sound.lost == [None])
    theirs.close()
    others.close()


async def test_a_door_takes_all_who_come_and_none_once_it_is_closed(poll: Poll) -> None:
    ends: list[Hearing] = []

    def enter() -> Hearing:
        ends.append(Hearing())
        return ends[-1]

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    door = Door(poll, listener, enter, backlog=200)
    clients = [socket.create_connection(address) for _ in range(150)]
    await eventually(lambda: len(ends) == 150)
    assert {end.wire.peer for end in ends} == {"127.0.0.1"}
    door.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for client in clients:
        client.close()
    await eventually(lambda: all(end.lost == [None] for end in ends))


class Failing(socket.socket):
    """A listening socket that fails to take a connection, once."""

    error = 0

    def accept(self) -> tuple[socket.socket, object]:
        error, self.error = self.error, 0
        if error:
            raise OSError(error, os.strerror(error))
        return super().accept()


@pytest.mark.parametrize(("error", "rests"), [(errno.EMFILE, True), (errno.ENOMEM, True), (errno.ECONNABORTED, False)])
async def test_a_door_rests_without_descriptors_and_not_for_one_connection_that_is_gone(
    poll: Poll, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, error: int, rests: bool
) -> None:
    monkeypatch.setattr("router.door.REST", 0.05)
    ends: list[Hearing] = []

    def enter() -> Hearing:
        ends.append(Hearing())
        return ends[-1]

    listener = Failing()
    listener.error = error
    listener.bind(("127.0.0.1", 0))
    door = Door(poll, listener, enter, backlog=10)
    client = socket.create_connection(listener.getsockname())
    await eventually(lambda: len(ends) == 1)
    assert (f"no connection can be taken for 0.05 s: [Errno {error}]" in caplog.text) == rests
    door.close()
    client.close()
    await eventually(lambda: ends[0].lost == [None])
