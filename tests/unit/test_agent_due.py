"""Whose answer is owed, and whose client is waited for."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from agent.load import FORMAT, reading
from agent.runtime.due import GRACE, Dues, Overdue, within_limit
from agent.runtime.load import SIZE, Load

BODY = {"type": "http.request", "body": b"", "more_body": False}
PART = {"type": "http.request", "body": b"x", "more_body": True}
START = {"type": "http.response.start", "status": 200, "headers": []}
PIECE = {"type": "http.response.body", "body": b"x", "more_body": True}
END = {"type": "http.response.body", "body": b"x"}
LIMIT = 10.0
SECOND = 1_000_000_000


class Stage:
    """An application between a client that sends and takes when it is told to, on a clock that stands."""

    def __init__(self) -> None:
        descriptor = os.memfd_create("load")
        self._file = os.dup(descriptor)
        os.ftruncate(descriptor, SIZE)
        self.now = 100 * SECOND
        self.dues = Dues(Load(descriptor), limit=LIMIT, most=2, clock=lambda: self.now)
        self.coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.works = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def owed(self, after: float = 0.0) -> float:
        """Seconds, as the agent sees it so many seconds later."""
        await settled()
        self.now += int(after * SECOND)
        self.dues.look()
        await settled()
        return reading(os.pread(self._file, FORMAT.size, 0), now=self.now).owed

    async def send(self, message: dict[str, Any]) -> None:
        await self.takes.wait()
        self.sent.append(message)

    @asynccontextmanager
    async def asked(self, app: Any, *, threads: bool = False) -> AsyncIterator[asyncio.Task[None]]:
        called = within_limit(app, self.dues, threads=threads)({"type": "http"}, self.coming.get, self.send)
        task = asyncio.ensure_future(called)
        await settled()
        yield task
        async with asyncio.timeout(20):
            await task

    def close(self) -> None:
        os.close(self._file)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


async def test_an_answer_is_owed_while_the_application_works_and_not_while_the_client_is_waited_for(
    stage: Stage,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await stage.works.wait()
        for message in (START, PIECE, END):
            await send(message)

    async with stage.asked(app):
        assert await stage.owed(5) == 0, "the body has not come"
        stage.coming.put_nowait(PART)
        assert await stage.owed(5) == 0, "nor has all of it"
        stage.coming.put_nowait(BODY)
        assert await stage.owed(5) == 5
        assert await stage.owed(2) == 7
        stage.works.set()
        assert await stage.owed(100) == 0, "the client does not take it"
        stage.takes.set()
    assert stage.sent == [START, PIECE, END]
    assert await stage.owed(5) == 0


async def test_the_client_is_waited_for_in_both_directions_at_once(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        reading_on = asyncio.create_task(receive())
        await send(START)
        await stage.works.wait()
        await reading_on
        await send(END)

    async with stage.asked(app):
        assert await stage.owed(50) == 0
        stage.takes.set()
        assert await stage.owed(50) == 0, "more of the body is waited for"
        stage.coming.put_nowait(BODY)
        assert await stage.owed(3) == 3
        stage.works.set()


async def test_what_is_done_after_an_answer_is_not_owed_to_anybody(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in (START, END):
            await send(message)
        await stage.works.wait()

    stage.takes.set()
    async with stage.asked(app) as task:
        assert stage.sent == [START, END]
        assert await stage.owed(1_000) == 0
        assert not task.done(), "nor is it cancelled"
        stage.works.set()


async def test_what_still_listens_after_the_application_has_left_owes_nothing(stage: Stage) -> None:
    listening: list[asyncio.Task[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        listening.append(asyncio.create_task(receive()))
        await asyncio.sleep(0)

    async with stage.asked(app):
        pass
    stage.coming.put_nowait({"type": "http.disconnect"})
    await listening[0]
    assert await stage.owed(5) == 0


async def test_the_answer_that_is_owed_longest_is_told(stage: Stage) -> None:
    async with stage.dues.in_thread():
        assert await stage.owed(5) == 5
        async with stage.dues.in_thread():
            assert await stage.owed(1) == 6
    async with stage.dues.in_thread():
        assert await stage.owed(1) == 1


async def test_one_that_does_not_answer_is_cancelled_after_its_limit(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await stage.works.wait()

    async with stage.asked(app) as task:
        await stage.owed(LIMIT)
        assert not task.done()
        await stage.owed(GRACE + 0.1)
        assert task.done()
    assert "was cancelled" in capsys.readouterr().err
    assert await stage.owed() == 0


async def test_one_that_does_not_let_itself_be_cancelled_goes_on_to_be_owed(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not stage.works.is_set():
            with suppress(asyncio.CancelledError):
                await stage.works.wait()

    async with stage.asked(app):
        assert await stage.owed(LIMIT + 2) == LIMIT + 2
        assert await stage.owed(5) == LIMIT + 7
        stage.works.set()


async def test_time_outs_of_its_own_are_its_own(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        async with stage.asked(app):
            pass


async def test_what_waits_for_its_turn_is_no_work_that_does_not_end(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await stage.works.wait()

    async with stage.asked(app, threads=True), stage.asked(app, threads=True):
        await stage.owed(9)
        async with stage.asked(app, threads=True) as third:
            assert await stage.owed(1) == 10
            stage.works.set()
            await asyncio.wait([third], timeout=20)
            assert third.done()
    assert await stage.owed() == 0


async def test_nothing_is_taken_up_that_nobody_waits_for_any_more() -> None:
    descriptor = os.memfd_create("load")
    os.ftruncate(descriptor, SIZE)
    dues = Dues(Load(descriptor), limit=0.05 - GRACE, most=1)
    async with dues.turn():
        with pytest.raises(Overdue, match="its turn did not come"):
            async with dues.turn():
                pass
    async with dues.turn() as since:
        assert since <= time.monotonic_ns()
