"""Rolling: the nodes change one batch after another, and the weights are the share of nodes that have changed.

    0:00  nodes 1-2 of 8 -> v6           Start 6 on them · give v6 25 % · Retire 5 on them · hold
    0:05  judged -> nodes 3-4            … 50 % …
    0:15  judged -> nodes 7-8            … 100 %, on every node, those that have joined meanwhile included
    0:20  judged -> complete

On a node the new version serves before the old one leaves, and the old one leaves when its share of the traffic has
gone: so a batch takes nothing from the capacity. The way back is the same in batches, from the last one to the first,
and each of its groups ends with the weights that held before that batch.
"""

from math import ceil

from controller.strategies.plan import Plan, State, give_all, latency_limit, limits, plan, start, start_limit
from hotswap.deployment import AnyStep, Bake, Retire, Shift, Start
from hotswap.errors import Refused
from hotswap.model import FULL_WEIGHT, Weights
from hotswap.requests import OnFailure, Rolling, RollingConfig

Batch = tuple[str, ...]


def steps(request: Rolling, state: State) -> Plan:
    old = state.stable
    if old is None:
        return plan(state, start(state.version), give_all(request.version, latency_limit=latency_limit(request.config)))
    if len(state.others) > 1:
        raise Refused(
            f'alias "{request.alias}" of "{request.function_name}" gives traffic to more than one version',
            hint=f"choose one first: `hotswap alias set {request.function_name}:{request.alias} {old}={FULL_WEIGHT}`",
        )
    parts = batches(state.nodes, request.config)
    forth = [step for number in range(len(parts)) for step in _forth(request, state, old, parts, number)]
    back = [step for number in reversed(range(len(parts))) for step in _back(request, old, parts, number)]
    on_failure = OnFailure.ROLLBACK if request.config.rollback_on_failure else OnFailure.HOLD
    return Plan(tuple(forth), tuple(back), old, on_failure)


def batches(nodes: Batch, config: RollingConfig) -> list[Batch]:
    """At least one, which may be empty: with no node there is still a last batch to wait for."""
    size = batch_size(len(nodes), config)
    return [nodes[begin : begin + size] for begin in range(0, len(nodes), size)] or [()]


def batch_size(nodes: int, config: RollingConfig) -> int:
    wanted = config.batch_nodes or ceil(nodes * config.batch_size / FULL_WEIGHT)
    return max(1, min(wanted, nodes))


def _forth(request: Rolling, state: State, old: int, parts: list[Batch], number: int) -> list[AnyStep]:
    last = number == len(parts) - 1
    nodes = None if last else list(parts[number])
    config = request.config
    return [
        Start(
            version=request.version,
            limit=start_limit(state.version),
            nodes=nodes,
            least_serving=_least_serving(len(state.nodes), config),
        ),
        _share(request, old, parts, number + 1),
        Retire(version=old, nodes=nodes),
        Bake(versions=[request.version], duration=config.batch_duration, limits=limits(config)),
    ]


def _back(request: Rolling, old: int, parts: list[Batch], number: int) -> list[AnyStep]:
    first = number == 0
    nodes = None if first else list(parts[number])
    return [
        Start(version=old, nodes=nodes),
        _share(request, old, parts, number),
        Retire(version=request.version, nodes=nodes),
    ]


def _share(request: Rolling, old: int, parts: list[Batch], number: int) -> Shift:
    """The weights when that many batches have changed: neither version has all before the other one has none."""
    changed, nodes = (sum(len(part) for part in some) for some in (parts[:number], parts))
    if number == 0:
        weights: Weights = {old: FULL_WEIGHT}
    elif number == len(parts):
        weights = {request.version: FULL_WEIGHT}
    else:
        share = min(max(round(FULL_WEIGHT * changed / nodes), 1), FULL_WEIGHT - 1)
        weights = {old: FULL_WEIGHT - share, request.version: share}
    return Shift(weights=weights, latency_limit=latency_limit(request.config))


def _least_serving(nodes: int, config: RollingConfig) -> int:
    if config.min_healthy is None:
        return nodes - batch_size(nodes, config)
    return ceil(nodes * config.min_healthy / FULL_WEIGHT)
