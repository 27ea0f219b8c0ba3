"""Whose answer is owed, and whose client is waited for."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.runtime.due import owing
from agent.runtime.load import OLDEST, SIZE, Load

BODY = {"type": "http.request", "body": b"", "more_body": False}
PART = {"type": "http.request", "body": b"x", "more_body": True}
START = {"type": "http.response.start", "status": 200, "headers": []}
PIECE = {"type": "http.response.body", "body": b"x", "more_body": True}
END = {"type": "http.response.body", "body": b"x"}


class Stage:
    """An application between a client that sends and takes when it is told to."""

    def __init__(self) -> None:
        descriptor = os.memfd_create("load")
        os.ftruncate(descriptor, SIZE)
        self.load = Load(descriptor)
        self.coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.works = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    def owed(self) -> bool:
        return bool(self.load._cells[OLDEST])

    async def send(self, message: dict[str, Any]) -> None:
        await self.takes.wait()
        self.sent.append(message)

    @asynccontextmanager
    async def asked(self, app: Any, *, seconds: float | None = None) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.ensure_future(owing(app, self.load, seconds)({"type": "http"}, self.coming.get, self.send))
        await settled()
        yield task
        async with asyncio.timeout(20):
            await task


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def stage() -> Stage:
    return Stage()


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
        assert not stage.owed(), "the body has not come"
        stage.coming.put_nowait(PART)
        await settled()
        assert not stage.owed(), "nor has all of it"
        stage.coming.put_nowait(BODY)
        await settled()
        assert stage.owed()
        stage.works.set()
        await settled()
        assert not stage.owed(), "the client does not take it"
        stage.takes.set()
    assert stage.sent == [START, PIECE, END]
    assert not stage.owed()


async def test_what_is_done_after_an_answer_is_not_owed_to_anybody(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in (START, END):
            await send(message)
        await stage.works.wait()

    stage.takes.set()
    async with stage.asked(app, seconds=0.05) as task:
        assert stage.sent == [START, END]
        assert not stage.owed()
        await asyncio.wait([task], timeout=0.2)
        assert not task.done(), "nor is it cancelled"
        stage.works.set()


async def test_the_answer_that_is_owed_longest_is_told(stage: Stage) -> None:
    first, second, third = object(), object(), object()
    told = []
    for request, since in ((first, 10), (second, 20), (third, 5)):
        stage.load.owe(request, since)
        told.append(stage.load._cells[OLDEST])
    for request in (third, second, first, first):
        stage.load.owe_nothing(request)
        told.append(stage.load._cells[OLDEST])
    assert told == [10, 10, 5, 10, 10, 0, 0]


async def test_one_that_does_not_answer_is_cancelled_and_its_own_time_outs_are_its_own(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(600)

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("of its own")

    async with stage.asked(waits, seconds=0.01):
        pass
    assert "was cancelled" in capsys.readouterr().err
    with pytest.raises(TimeoutError, match="of its own"):
        async with stage.asked(fails, seconds=60):
            pass
    assert not stage.owed()
