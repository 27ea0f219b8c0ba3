"""The loop of a worker: asyncio's in all that a program can tell, on a poll that has sockets of its own."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator

import pytest

from router.loop import Loop
from router.wire import IN, Poll, Watched
from tests.conditions import eventually

LIMIT = 20.0

Run = Callable[[Coroutine[object, object, None]], None]


class Socket(Watched):
    """Calls for each byte that comes."""

    def __init__(self, poll: Poll, call: Callable[[], object]) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self._call = call
        poll.watch(self.ours.fileno(), self, 0, IN)

    def happened(self, events: int) -> None:
        self.ours.recv(1)
        self._call()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def poll() -> Poll:
    return Poll()


@pytest.fixture
def run(poll: Poll) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=lambda: Loop(poll)) as runner:

        def run(work: Coroutine[object, object, None]) -> None:
            runner.run(asyncio.wait_for(work, LIMIT))

        yield run


def test_what_a_socket_of_the_poll_sets_off_goes_on_at_once(poll: Poll, run: Run) -> None:
    async def work() -> None:
        heard = asyncio.Event()
        with contextlib.closing(Socket(poll, heard.set)) as one:
            one.theirs.send(b"x")
            await heard.wait()

    run(work())


def test_a_timer_that_a_socket_sets_ends_a_longer_wait(poll: Poll, run: Run) -> None:
    async def work() -> None:
        loop, rung = asyncio.get_running_loop(), asyncio.Event()
        with contextlib.closing(Socket(poll, lambda: loop.call_later(0.01, rung.set))) as one:
            one.theirs.send(b"x")
            await asyncio.wait_for(rung.wait(), LIMIT / 2)

    run(work())


def test_timers_are_on_time_while_sockets_keep_it_busy(poll: Poll, run: Run) -> None:
    async def work() -> None:
        rounds = 0

        def again() -> None:
            nonlocal rounds
            rounds += 1
            one.theirs.send(b"x")

        with contextlib.closing(Socket(poll, again)) as one:
            one.theirs.send(b"x")
            began = time.monotonic()
            await asyncio.sleep(0.05)
            assert time.monotonic() - began >= 0.05
            assert rounds > 1

    run(work())


def test_other_threads_are_heard(run: Run) -> None:
    async def work() -> None:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        thread = threading.Timer(0.01, lambda: loop.call_soon_threadsafe(heard.set))
        thread.start()
        await heard.wait()
        thread.join()
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()

    run(work())


def test_its_own_streams_work_both_ways_and_are_told_of_the_end(run: Run) -> None:
    sent = bytes(range(256)) * 8_192

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(-1))
        writer.close()

    async def work() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(sent)
            writer.write_eof()
            assert await reader.read(-1) == sent
            writer.close()
            await writer.wait_closed()

    run(work())


def test_a_connection_that_is_refused_is_told(run: Run) -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            address = gone.getsockname()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    run(work())


def test_a_file_is_watched_for_reading_and_writing_and_for_either_alone(run: Run) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        told: list[bytes] = []
        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.add_reader(ours, lambda: told.append(ours.recv(1)))
            loop.add_writer(ours, lambda: told.append(b"write"))
            await eventually(lambda: b"write" in told)
            assert loop.remove_writer(ours)
            told.clear()
            theirs.send(b"x")
            await eventually(lambda: told == [b"x"])
            assert loop.remove_reader(ours)
            assert not loop.remove_reader(ours)
            theirs.send(b"y")
            ours.send(b"z")  # comes after it
            loop.add_reader(theirs, lambda: told.append(theirs.recv(1)))
            await eventually(lambda: b"z" in told)
            assert told == [b"x", b"z"]
            assert loop.remove_reader(theirs)

    run(work())


def test_a_fault_at_one_socket_is_logged_and_ends_nothing(
    poll: Poll, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("for the test")

    async def work() -> None:
        heard = asyncio.Event()
        with contextlib.closing(Socket(poll, fail)) as bad, contextlib.closing(Socket(poll, heard.set)) as good:
            bad.theirs.send(b"x")
            good.theirs.send(b"x")
            await heard.wait()

    run(work())
    assert "a fault of the router" in caplog.text


def test_what_is_given_to_it_from_outside_runs_though_nothing_happens(run: Run) -> None:
    async def work() -> None:
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(done.set_result, None)
        await done

    run(work())
