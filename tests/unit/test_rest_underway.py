"""Mutations end whether or not somebody waits for them."""

import asyncio
import logging

import pytest

from controller.api.rest.underway import Underway
from hotswap.errors import Refused


async def left_alone(underway: Underway, error: Exception | None = None) -> None:
    """A mutation whose caller goes away while it is made; returns when it has ended."""
    began, going_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def mutation() -> None:
        began.set()
        await going_on.wait()
        done.set()
        if error:
            raise error

    caller = asyncio.create_task(underway.finish(mutation()))
    await began.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    going_on.set()
    await underway.end(10)
    assert done.is_set()


async def test_the_caller_has_the_result() -> None:
    async def mutation() -> int:
        return 7

    assert await Underway().finish(mutation()) == 7


async def test_the_caller_has_the_error() -> None:
    async def mutation() -> None:
        raise Refused("not now")

    with pytest.raises(Refused):
        await Underway().finish(mutation())


async def test_it_goes_on_when_its_caller_has_gone() -> None:
    await left_alone(Underway())


@pytest.mark.parametrize(
    ("error", "level", "said"), [(RuntimeError("a fault"), "ERROR", "fault"), (Refused("not now"), "INFO", "not now")]
)
async def test_what_goes_wrong_then_is_told_by_the_log(
    caplog: pytest.LogCaptureFixture, error: Exception, level: str, said: str
) -> None:
    with caplog.at_level(logging.INFO):
        await left_alone(Underway(), error)
    [record] = caplog.records
    assert (record.levelname, said in record.getMessage()) == (level, True)


async def test_what_takes_longer_than_the_end_allows_is_cancelled() -> None:
    underway = Underway()
    caller = asyncio.create_task(underway.finish(asyncio.sleep(3600)))
    await asyncio.sleep(0)
    await underway.end(0.01)
    assert (await asyncio.gather(caller, return_exceptions=True))[0].__class__ is asyncio.CancelledError
