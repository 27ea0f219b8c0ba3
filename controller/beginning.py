"""How a deployment begins: what is there is read, the plan is made of it, and the alias is taken, all in one write.

It begins when it is asked for, by whichever controller was asked, or when its turn comes in the queue, by the leader.
"""

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from controller import record, steps, strategies, transition
from controller.placement import fits
from hotswap.deployment import Active, AnyStep, Deployment, Event, Start, Status
from hotswap.errors import Invalid, NotFound, Refused
from hotswap.model import FULL_WEIGHT, Alias, Version
from hotswap.requests import AnyRequest
from hotswap.store import Store, Stored, Transaction


@dataclass(frozen=True, slots=True)
class Ground:
    """What a deployment begins on."""

    version: Version
    alias: Stored[Alias] | None
    nodes: tuple[str, ...]


async def ground(store: Store, request: AnyRequest) -> Ground:
    """Raises `NotFound` for a version that does not exist, with those that do."""
    version = await store.versions.get(request.function_name, request.version)
    if version is None:
        known = sorted(stored.value.number for stored in await store.versions.list(request.function_name))
        raise NotFound(
            f'there is no version {request.version} of "{request.function_name}"',
            hint=f"its versions are: {', '.join(map(str, known))}" if known else "see `hotswap functions`",
        )
    alias = await store.aliases.get(request.function_name, request.alias)
    nodes = [stored.value for stored in await store.nodes.list()]
    return Ground(version.value, alias, tuple(sorted(node.name for node in nodes if fits(version.value, node))))


def planned(
    deployment: Deployment, on: Ground, now: datetime, *, first_step: int = 1
) -> tuple[Deployment, list[Event]]:
    """The deployment as it runs from now on. Raises `Refused` or `Invalid` where it makes no sense.

    `first_step` counts from 1: of the steps before it only those are left that start versions.
    """
    request, alias = deployment.request, on.alias.value if on.alias else None
    if alias and alias.weights.get(request.version) == FULL_WEIGHT:
        raise Refused(
            f'alias "{request.alias}" of "{request.function_name}" gives version {request.version} all traffic already',
            hint=f"see `hotswap alias get {request.function_name}:{request.alias}`",
        )
    plan = strategies.plan(request, strategies.State(alias, on.version, on.nodes))
    taken = _from(plan.steps, first_step)
    begun = replace(
        deployment,
        status=Status.RUNNING,
        plan=taken,
        way_back=list(plan.way_back),
        stable=plan.stable,
        on_failure=plan.on_failure,
        began_on=on.alias.mod_revision if on.alias else 0,
        progress=steps.enter(taken, 0, now, attempt=1),
    )
    return transition.begun(begun, now)


def _from(plan: tuple[AnyStep, ...], first: int) -> list[AnyStep]:
    if not 1 <= first <= len(plan):
        raise Invalid(f"the plan has no step {first}", hint=f"it has steps 1 to {len(plan)}")
    return [*(step for step in plan[: first - 1] if isinstance(step, Start)), *plan[first - 1 :]]


def take(
    transaction: Transaction, before: Stored[Deployment] | None, after: Deployment, events: list[Event], on: Ground
) -> Transaction:
    """Adds the deployment and its hold of the alias, which must be as it was read."""
    active = Active(function=after.function, alias=after.alias, deployment=after.id)
    record.put(transaction, before, after, events).create(active)
    if on.alias:
        return transaction.require(on.alias)
    return transaction.require_absent(Alias, after.function, after.alias)
