import asyncio
import contextlib
import socket
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from router.reading import unbuffered
from router.writing import NONE, descriptor, write, write_parts
from tests.conditions import eventually

SIZES = st.lists(st.sampled_from([1, 100, 65_536, 500_000]), min_size=1, max_size=8)


class Behind(asyncio.Protocol):
    """Whether its transport has something that it still has to write."""

    behind = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        unbuffered(cast("asyncio.WriteTransport", transport))

    def pause_writing(self) -> None:
        self.behind = True

    def resume_writing(self) -> None:
        self.behind = False


@given(SIZES, SIZES)
@settings(max_examples=20, deadline=None)
async def test_bytes_arrive_in_their_order_however_slowly_they_are_taken(first: list[int], then: list[int]) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    transport, writes = await asyncio.get_running_loop().create_connection(Behind, sock=ours)
    sent = b""
    for sizes in (first, then):
        for size in sizes:
            data = (bytes(range(251)) * (size // 251 + 1))[len(sent) % 7 : size]
            parts = (b"%d" % size, data, b"\r\n")
            if len(sent) % 2:
                write(transport, descriptor(transport), b"".join(parts), behind=writes.behind)
            else:
                write_parts(transport, descriptor(transport), parts, behind=writes.behind)
            sent += b"".join(parts)
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        assert await reader.readexactly(len(sent)) == sent
    transport.close()
    writer.close()
    await writer.wait_closed()


async def test_nothing_is_written_to_the_descriptor_of_a_transport_that_closes() -> None:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    fd = descriptor(transport)
    transport.abort()
    await eventually(lambda: ours.fileno() == -1)
    reused, other = socket.socketpair()  # one of them has the number now
    write(transport, fd, b"secret", behind=False)
    write_parts(transport, fd, (b"secret", b"", b""), behind=False)
    for end in (reused, other):
        end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert end.recv(10) == b""
        end.close()
    theirs.close()


async def test_a_transport_without_a_descriptor_is_written_to_itself() -> None:
    class Recording(asyncio.Transport):
        written = b""

        def write(self, data: bytes | bytearray | memoryview) -> None:
            self.written += data

    transport = Recording()
    assert descriptor(transport) == NONE
    write(transport, NONE, b"x", behind=False)
    assert transport.written == b"x"
