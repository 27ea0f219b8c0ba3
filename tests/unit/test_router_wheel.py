import math

from hypothesis import given
from hypothesis import strategies as st

from router.wheel import TICK, Timed, Wheel


class Alarm(Timed):
    def __init__(self) -> None:
        self.rung: list[float] = []

    def overdue(self, now: float) -> None:
        self.rung.append(now)


def turned(wheel: Wheel, start: float, end: float) -> None:
    """Turned at every tick in between."""
    for tick in range(int(start / TICK), int(end / TICK) + 1):
        wheel.turn(tick * TICK)


def test_a_limit_that_is_moved_on_is_not_over() -> None:
    wheel, alarm = Wheel(0.0), Alarm()
    wheel.limit(alarm, 1.0)
    turned(wheel, 0.0, 0.9)
    wheel.limit(alarm, 5.0)
    turned(wheel, 0.9, 4.9)
    assert alarm.rung == []
    turned(wheel, 4.9, 9.0)
    assert len(alarm.rung) == 1
    assert 5.0 <= alarm.rung[0] < 5.0 + 2 * TICK
    assert len(wheel) == 0


def test_a_limit_that_is_moved_forward_is_over_sooner() -> None:
    wheel, alarm = Wheel(0.0), Alarm()
    wheel.limit(alarm, 75.0)
    wheel.limit(alarm, 0.5)
    turned(wheel, 0.0, 1.0)
    assert len(alarm.rung) == 1


def test_what_is_forgotten_does_not_stay_in_the_wheel() -> None:
    wheel, alarm = Wheel(0.0), Alarm()
    for deadline in (75.0, 30.0, 75.0):
        wheel.limit(alarm, deadline)
    assert len(wheel) == 1
    wheel.forget(alarm)
    assert len(wheel) == 0
    turned(wheel, 0.0, 80.0)
    assert alarm.rung == []


def test_a_limit_may_be_set_while_another_one_is_over() -> None:
    class Again(Alarm):
        def overdue(self, now: float) -> None:
            super().overdue(now)
            wheel.limit(self, now - 1.0)  # over already

    wheel, alarm = Wheel(0.0), Again()
    wheel.limit(alarm, 0.1)
    turned(wheel, 0.0, 1.0)
    assert len(alarm.rung) > 3


@given(
    st.lists(
        st.tuples(
            st.integers(min_value=0, max_value=2),
            st.one_of(st.just(math.inf), st.floats(min_value=0.0, max_value=20.0)),
            st.floats(min_value=0.0, max_value=3.0),
        ),
        max_size=30,
    )
)
def test_a_limit_is_over_once_never_too_soon_and_hardly_too_late(moves: list[tuple[int, float, float]]) -> None:
    wheel, alarms, now = Wheel(0.0), [Alarm(), Alarm(), Alarm()], 0.0
    due = [math.inf] * 3
    for which, after, pause in moves:
        wheel.limit(alarms[which], now + after)
        due[which] = now + after
        now += pause
        wheel.turn(now)
        for index, alarm in enumerate(alarms):
            assert len(alarm.rung) <= 1
            assert (not alarm.rung and now < due[index] + 2 * TICK) or (alarm.rung and now >= due[index])
            if alarm.rung:
                alarm.rung, due[index] = [], math.inf
