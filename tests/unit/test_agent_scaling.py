"""Which instance is woken or put to sleep, by what they have in flight."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.crew import Crew
from agent.load import FORMAT, Reading, reading
from agent.proven import Proven
from agent.scaling import Look, Scaling, scale
from hotswap.model import Kind, Manifest

IDLE = 10.0
SECOND = 10**9


def look(in_flight: int = 0, *, idle: float = 0.0, queues: bool = False) -> Look:
    return Look(in_flight, idle, queues)


@pytest.mark.parametrize(
    ("looks", "least", "average", "scaling"),
    [
        pytest.param([], 0, None, Scaling(), id="nothing is awake"),
        pytest.param([look(3, queues=True)], 0, None, Scaling(wake=True), id="one queues"),
        pytest.param([look(3, queues=True), look(idle=99)], 0, None, Scaling(wake=True), id="though one is idle"),
        pytest.param([look(idle=9)], 0, None, Scaling(), id="not idle for long enough"),
        pytest.param([look(idle=10)], 0, None, Scaling(sleep=0), id="idle for long enough"),
        pytest.param([look(idle=10)], 1, None, Scaling(), id="the least number stays"),
        pytest.param([look(idle=11), look(idle=12)], 1, None, Scaling(sleep=1), id="the one idle for longest"),
        pytest.param([look(idle=1), look(idle=2)], 0, 1.0, Scaling(sleep=1), id="little to do for two"),
        pytest.param([look(idle=1), look(idle=2)], 0, 1.1, Scaling(), id="too much for one"),
        pytest.param([look(1), look(1)], 0, 0.1, Scaling(), id="none is free at the moment"),
        pytest.param([look(idle=2)], 0, 0.0, Scaling(), id="the last one sleeps only when it was idle"),
    ],
)
def test_what_is_decided(looks: list[Look], least: int, average: float | None, scaling: Scaling) -> None:
    assert scale(looks, least=least, concurrency=2, idle_timeout=IDLE, average=average) == scaling


LOOKS = st.lists(st.builds(Look, st.integers(0, 4), st.floats(0, 100), st.booleans()), max_size=6)


@given(looks=LOOKS, least=st.integers(0, 6), average=st.none() | st.floats(0, 100))
def test_what_has_something_in_flight_is_never_put_to_sleep_nor_fewer_left_than_there_must_be(
    looks: list[Look], least: int, average: float | None
) -> None:
    scaling = scale(looks, least=least, concurrency=2, idle_timeout=IDLE, average=average)
    assert scaling.wake == any(it.queues for it in looks)
    if scaling.sleep is not None:
        assert not scaling.wake
        assert len(looks) > least
        assert looks[scaling.sleep].in_flight == 0


def test_what_is_in_flight_goes_on_to_be_counted_until_it_is_read() -> None:
    told = FORMAT.pack(2, 5 * SECOND, 100 * SECOND, 90 * SECOND, 90 * SECOND + 3_000_000, 99 * SECOND, 97 * SECOND)
    assert reading(told, now=101 * SECOND) == Reading(in_flight=2, busy=7.0, idle=0.0, owed=4.0, held=2.0, first_ms=3.0)


def test_an_instance_without_anything_in_flight_is_idle() -> None:
    told = FORMAT.pack(0, 5 * SECOND, 100 * SECOND, 90 * SECOND, 0, 0, 0)
    assert reading(told, now=103 * SECOND) == Reading(
        in_flight=0, busy=5.0, idle=3.0, owed=0.0, held=0.0, first_ms=None
    )


@given(st.binary(min_size=FORMAT.size, max_size=FORMAT.size), st.integers(0, 2**63))
def test_whatever_a_function_writes_there_can_be_read(told: bytes, now: int) -> None:
    found = reading(told, now=now)
    assert found.in_flight >= 0
    assert found.idle >= 0


@dataclass(eq=False)
class One:
    """A slot as its crew sees it."""

    up: bool = False
    retiring: bool = False
    worn: bool = False
    awake: Reading | None = None
    calls: list[str] = field(default_factory=list)

    @property
    def asleep(self) -> bool:
        return not self.up

    def reading(self) -> Reading | None:
        return self.awake

    def wake(self) -> None:
        self.calls.append("wake")

    def sleep(self) -> None:
        self.calls.append("sleep")


def crew(folder: Path, members: int, *, least: int = 0, concurrency: int = 1) -> tuple[Crew, list[One]]:
    made, ones = Crew("fn", 1, Proven(folder)), [One() for _ in range(members)]
    for one in ones:
        made.join(one)
    made.meet(
        Manifest(
            function="fn",
            kind=Kind.HANDLER,
            entrypoint="app:handler",
            concurrency=concurrency,
            min_instances=least,
            max_instances=max(members, 1),
        )
    )
    return made, ones


def serving(in_flight: int = 0, *, idle: float = 0.0) -> Reading:
    return Reading(in_flight, 0.0, idle, 0.0, 0.0, None)


async def test_of_a_new_version_one_starts_and_the_others_wait_until_it_is_ready(tmp_path: Path) -> None:
    made, (first, second) = crew(tmp_path, 2)
    assert not await made.may_sleep(first)
    waiting = asyncio.create_task(made.may_sleep(second))
    await asyncio.sleep(0)
    assert not waiting.done()
    made.prove()
    assert await waiting


async def test_when_the_first_one_fails_another_one_tries(tmp_path: Path) -> None:
    made, (first, second) = crew(tmp_path, 2)
    assert not await made.may_sleep(first)
    waiting = asyncio.create_task(made.may_sleep(second))
    await asyncio.sleep(0)
    first.up = False
    made.stir()
    assert not await waiting


async def test_a_version_that_was_ready_on_the_node_sleeps_from_the_start(tmp_path: Path) -> None:
    crew(tmp_path, 1)[0].prove()
    made, (one,) = crew(tmp_path, 1)
    assert await made.may_sleep(one)


async def test_a_version_that_has_left_the_node_has_to_prove_itself_again(tmp_path: Path) -> None:
    before, (one,) = crew(tmp_path, 1)
    before.prove()
    before.leave(one)
    made, (one,) = crew(tmp_path, 1)
    assert not await made.may_sleep(one)


async def test_as_many_start_as_must_run(tmp_path: Path) -> None:
    made, ones = crew(tmp_path, 3, least=2)
    made.prove()
    assert [await made.may_sleep(one) for one in ones] == [False, False, True]


async def test_what_takes_the_place_of_one_that_is_worn_out_starts_before_that_goes(tmp_path: Path) -> None:
    made, (worn, other, sleeper) = crew(tmp_path, 3, least=1)
    made.prove()
    worn.up = worn.worn = True
    assert not await made.may_sleep(other)
    assert await made.may_sleep(sleeper)


def test_one_look_at_a_queue_wakes_nobody_and_the_second_one_wakes_one(tmp_path: Path) -> None:
    made, (busy, *others) = crew(tmp_path, 3)
    busy.up, busy.awake = True, serving(5)
    made.look(0.0)
    assert not any(it.calls for it in others)
    made.look(0.1)
    assert [it.calls for it in others] == [["wake"], []]


def test_while_one_wakes_no_other_is_woken(tmp_path: Path) -> None:
    made, (busy, waking, other) = crew(tmp_path, 3)
    busy.up, busy.awake, waking.up = True, serving(5), True
    made.look(0.0)
    made.look(0.1)
    assert other.calls == []


def test_the_idle_one_is_put_to_sleep_when_all_is_calm(tmp_path: Path) -> None:
    made, (idle, other) = crew(tmp_path, 2)
    idle.up, idle.awake, other.up = True, serving(idle=1_000), True
    made.look(0.0)
    assert idle.calls == [], "another one is starting, or on its way to sleep"
    other.up = False
    made.look(0.1)
    assert idle.calls == ["sleep"]


def test_where_as_many_must_run_as_may_nothing_is_done(tmp_path: Path) -> None:
    made, (one,) = crew(tmp_path, 1, least=1)
    one.up, one.awake = True, serving(9, idle=1_000)
    made.look(0.0)
    made.look(0.1)
    assert one.calls == []
