"""Strategies are data: each is a pure function of a request and the present state to a plan of steps.

`plan` is the one place that knows which strategies there are.
"""

from typing import assert_never

from controller.strategies import ab_testing, all_at_once, blue_green, canary, rolling
from controller.strategies.plan import Plan, State
from hotswap.requests import ABTesting, AllAtOnce, AnyRequest, BlueGreen, Canary, Rolling


def plan(request: AnyRequest, state: State) -> Plan:
    """Raises `Invalid` for a configuration that says nothing sensible, `Refused` where the alias does not allow it."""
    match request:
        case AllAtOnce():
            return all_at_once.steps(request, state)
        case Canary():
            return canary.steps(request, state)
        case BlueGreen():
            return blue_green.steps(request, state)
        case Rolling():
            return rolling.steps(request, state)
        case ABTesting():
            return ab_testing.steps(request, state)
        case _:
            assert_never(request)


__all__ = ["Plan", "State", "plan"]
