"""Strategies are data: each is a pure function of a request and the present state to a plan of steps.

`plan` is the one place that knows which strategies there are.
"""

from controller.strategies import all_at_once, canary
from controller.strategies.plan import Plan, State
from hotswap.errors import Refused
from hotswap.requests import AllAtOnce, AnyRequest, Canary

AVAILABLE = ("AllAtOnce", "Canary")


def plan(request: AnyRequest, state: State) -> Plan:
    """Raises `Invalid` for a configuration that says nothing sensible, `Refused` for a strategy that is not there."""
    match request:
        case AllAtOnce():
            return all_at_once.steps(request, state)
        case Canary():
            return canary.steps(request, state)
        case _:
            strategy = type(request).__name__
            raise Refused(
                f"the strategy {strategy} is not available", hint=f"the strategies there are: {', '.join(AVAILABLE)}"
            )


__all__ = ["AVAILABLE", "Plan", "State", "plan"]
