"""Invocations of the type Event: bounded, tried again as Lambda does, given up in the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from controller.api.aws.faults import Fault, missing, unavailable
from controller.api.aws.invoking import Invocation
from controller.api.aws.later import Later
from tests.conditions import eventually


def invocation(body: bytes = b"{}") -> Invocation:
    return Invocation(function="f", qualifier="", body=body, headers={}, id="r")


class Function:
    """Answers by what it is given, in order; then well."""

    def __init__(self, *answers: bool | Fault) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def __call__(self, _: Invocation) -> bool:
        self.calls += 1
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Fault):
            raise answer
        return answer


@asynccontextmanager
async def running(
    succeeds: Callable[[Invocation], Awaitable[bool]], *, most: int = 10, clock: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[Later]:
    later = Later(succeeds, clock=clock, after_errors=(0.001, 0.001), first_retry=0.001, most=most)
    work = asyncio.create_task(later.run())
    try:
        yield later
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        later.close()


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([True], 1),
        ([False, True], 2),
        ([False] * 9, 3),
        ([unavailable("no router")] * 5, 6),
        ([missing("no function")], 1),
    ],
    ids=["well", "once more", "twice more at most", "not invoked at all", "gone"],
)
async def test_how_often_an_invocation_is_made(answers: list[bool | Fault], calls: int) -> None:
    function = Function(*answers)
    async with running(function) as later:
        later.take(invocation())
        await eventually(lambda: not len(later))
    assert function.calls == calls


async def test_what_is_too_old_is_given_up() -> None:
    times = iter([0.0, *[7 * 3600.0] * 9])
    function = Function(*[unavailable("no router")] * 9)
    async with running(function, clock=lambda: next(times)) as later:
        later.take(invocation())
        await eventually(lambda: not len(later))
    assert function.calls == 1


async def test_one_more_than_it_holds_is_refused() -> None:
    release = asyncio.Event()

    async def waits(_: Invocation) -> bool:
        return await release.wait()

    async with running(waits, most=2) as later:
        later.take(invocation())
        later.take(invocation())
        with pytest.raises(Fault) as refused:
            later.take(invocation())
        assert (refused.value.code, refused.value.status) == ("TooManyRequestsException", 429)
        release.set()
        await eventually(lambda: not len(later))
        later.take(invocation())


async def test_what_is_lost_at_the_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Function(unavailable("no router"))) as later:
        later._first_retry = 60.0
        later.take(invocation())
        later.take(invocation())
    assert "2 invocations of the type Event that waited are lost" in caplog.text
