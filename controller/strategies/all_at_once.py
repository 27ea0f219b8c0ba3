"""AllAtOnce: the new version takes all traffic as soon as it is ready.

    0:00  production -> v5 (100 %)       Start 6
    0:01  production -> v6 (100 %)       Shift 6=100, Retire 5

Nothing is judged, and nothing goes back by itself.
"""

from controller.strategies.plan import Plan, State, give_all, plan, start
from hotswap.requests import AllAtOnce


def steps(request: AllAtOnce, state: State) -> Plan:
    return plan(state, start(state.version), give_all(request.version))
