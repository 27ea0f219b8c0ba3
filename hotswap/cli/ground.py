"""What a deployment would begin on: as the platform has it, or as it is assumed where there is none. Only looked at."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from hotswap import model
from hotswap.cli.client import ANSWER_LIMIT, Target
from hotswap.errors import Invalid, Unavailable
from hotswap.forecast import Traffic
from hotswap.judge.guard import PRIOR
from hotswap.metrics import Tally
from hotswap.requests import AnyRequest
from hotswap.rpc import controller_pb2 as pb

MEASURED = 5.0
"""Seconds for which the requests are counted where nobody says how many there are."""
ASSUMED_FAILURES = 0.001
"""Of the version that has the traffic, where nobody knows how often it fails."""
ASSUMED_NODES = 4
HOW_TO_TELL = "tell how many requests there are per second: --rps 120"


@dataclass(frozen=True, slots=True)
class Ground:
    """What the deployment would begin on, as the platform has it, or as it is assumed where there is none."""

    alias: model.Alias | None
    version: model.Version
    nodes: tuple[str, ...]
    routers: tuple[model.Router, ...] = ()
    assumed: bool = False


def look(target: Target, request: AnyRequest, *, told: bool) -> Ground:
    """Raises `Unavailable` where there is no platform and nobody has told how much there is to do."""
    try:
        return _found(target, request)
    except Unavailable as error:
        if told:
            return _assumed(request)
        hint = f"{HOW_TO_TELL}   or start the platform: hotswap up"
        raise Unavailable(f"{error.message}, so nothing tells how often the function is invoked", hint=hint) from None


def _found(target: Target, request: AnyRequest) -> Ground:
    function, name = request.function_name, request.alias
    with target.connected() as controller:
        version = controller.GetVersion(
            pb.GetVersionRequest(function=function, number=request.version), timeout=ANSWER_LIMIT
        )
        aliases = controller.ListAliases(pb.ListAliasesRequest(function=function), timeout=ANSWER_LIMIT).aliases
        platform = controller.GetPlatform(pb.GetPlatformRequest(), timeout=ANSWER_LIMIT)
    manifest = model.decode(version.manifest_json, model.Manifest, where=f"version {request.version}")
    needed = manifest.placement.labels.items()
    return Ground(
        alias=next((_alias(it) for it in aliases if it.name == name), None),
        version=_version(request, manifest),
        nodes=tuple(sorted(it.name for it in platform.nodes if needed <= dict(it.labels).items())),
        routers=tuple(
            model.Router(name=it.name, address=it.address, admin=it.admin, boot=it.boot) for it in platform.routers
        ),
    )


def _assumed(request: AnyRequest) -> Ground:
    """The version before has all the traffic, and there are a few nodes."""
    before = request.version - 1
    alias = model.Alias(function=request.function_name, name=request.alias, weights={before: model.FULL_WEIGHT})
    manifest = model.Manifest(function=request.function_name, kind=model.Kind.HANDLER, entrypoint="app:handler")
    return Ground(
        alias=alias if before else None,
        version=_version(request, manifest),
        nodes=tuple(f"node-{number}" for number in range(1, ASSUMED_NODES + 1)),
        assumed=True,
    )


def _alias(of: pb.Alias) -> model.Alias:
    return model.Alias(
        function=of.function,
        name=of.name,
        weights=dict(of.weights),
        last_good=of.last_good or None,
        sticky=model.Sticky(by=of.sticky) if of.sticky else None,
    )


def _version(request: AnyRequest, manifest: model.Manifest) -> model.Version:
    return model.Version(
        function=request.function_name,
        number=request.version,
        artifact="",
        size=0,
        manifest=manifest,
        published=datetime.now(UTC),
    )


def traffic(ground: Ground, request: AnyRequest, *, rate: float | None, users: int | None) -> Traffic:
    """What was told, else what the routers count. Where the rate was told, they need not be in reach."""
    if ground.assumed or not ground.routers:
        if rate is None:
            raise Invalid("no router runs that could tell how often the function is invoked", hint=HOW_TO_TELL)
        return Traffic(rate=rate, stable=ASSUMED_FAILURES, users=users)
    try:
        measured, stable = asyncio.run(_counted(ground, request, seconds=0 if rate is not None else MEASURED))
    except Unavailable as error:
        if rate is None:
            raise Unavailable(error.message, hint=HOW_TO_TELL) from error
        measured, stable = rate, ASSUMED_FAILURES
    rate = measured if rate is None else rate
    if not rate:
        raise Invalid(
            f'nobody has invoked "{request.function_name}:{request.alias}" for {MEASURED:g} s',
            hint=HOW_TO_TELL,
        )
    return Traffic(rate=rate, stable=stable, users=users)


async def _counted(ground: Ground, request: AnyRequest, *, seconds: float) -> tuple[float, float]:
    """Invocations per second of the alias, and the share of them that fails: the routers count from their start."""
    from hotswap.admin import admin_ports

    serving = ground.alias.weights if ground.alias else {}
    async with admin_ports() as admin:

        async def tally() -> Tally:
            answers = await asyncio.gather(*(admin.counters(it, request.function_name) for it in ground.routers))
            rows = [row for answer in answers for row in answer.rows if row.alias == request.alias]
            return Tally.total(row.tally.counts for row in rows if row.version in serving)

        before = await tally()
        await asyncio.sleep(seconds)
        now = await tally()
    rate = (now.invocations - before.invocations) / seconds if seconds else 0.0
    return rate, _failing(now)


def _failing(tally: Tally) -> float:
    """Too few invocations to have seen one fail tell nothing of how many do."""
    if not tally.errors and tally.invocations < 1 / ASSUMED_FAILURES:
        return ASSUMED_FAILURES
    return (tally.errors + PRIOR) / (tally.invocations + 2 * PRIOR)
