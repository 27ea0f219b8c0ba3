"""Aliases: an alias of ours is one of AWS's, whose weights may go to more than two versions."""

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

from msgspec import UNSET, Struct, UnsetType

from controller.api.aws import configuration, names, pages, shares
from controller.api.aws.calls import Call, Reply
from controller.api.aws.faults import conflict, invalid, missing, outdated
from controller.api.aws.functions import WHY, present
from hotswap.errors import NotFound, Outdated
from hotswap.model import Alias, Weights, check_alias_name
from hotswap.store import Stored


class Routing(Struct, frozen=True, rename="pascal"):
    additional_version_weights: dict[str, float] | None = None


class Creating(Struct, frozen=True, kw_only=True, rename="pascal"):
    name: str
    function_version: str
    description: str = ""
    routing_config: Routing | None = None


class Updating(Struct, frozen=True, kw_only=True, rename="pascal"):
    function_version: str | None = None
    description: str = ""
    routing_config: Routing | None = None
    revision_id: str | None = None


class Configuration(Struct, frozen=True, kw_only=True, rename="pascal"):
    """AliasConfiguration of the service model."""

    alias_arn: str
    name: str
    function_version: str
    description: str
    routing_config: Routing | UnsetType = UNSET
    revision_id: str


USED = frozenset({"Name", "FunctionVersion", "Description", "RoutingConfig"})


async def create(call: Call) -> Reply:
    asked, function = call.read(Creating), call.named.function
    configuration.check_covered(call.document(), USED)
    await present(call, function)
    weights = shares.weights_of(asked.function_version, _additional(asked.routing_config))
    try:
        stored = await call.access.set_weights(
            function, _checked(asked.name), weights, why=asked.description, expected=0
        )
    except Outdated:
        raise conflict(f"Alias already exists: {call.arn(function, asked.name)}") from None
    return Reply(_described(stored, call), HTTPStatus.CREATED)


async def update(call: Call) -> Reply:
    asked, function = call.read(Updating), call.named.function
    configuration.check_covered(call.document(), USED)
    before = await _alias(call)
    expected = before.mod_revision
    if asked.revision_id is not None and asked.revision_id != str(expected):
        raise outdated(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )
    weights, why = _updated(before.value, asked), asked.description or WHY
    stored = await call.access.set_weights(function, before.value.name, weights, why=why, expected=expected)
    return Reply(_described(stored, call))


async def get(call: Call) -> Reply:
    return Reply(_described(await _alias(call), call))


async def find(call: Call) -> Reply:
    """Those of which a version is one, where `FunctionVersion` names it."""
    function = call.named.function
    await present(call, function)
    found = sorted(alias.name for alias in await call.access.aliases(function) if _shown(alias, call.query))
    names_shown, marker = pages.page(found, str, call.query)
    shown = [_described(await call.access.alias(function, name), call) for name in names_shown]
    return Reply({"Aliases": shown} | ({"NextMarker": marker} if marker else {}))


async def delete(call: Call) -> Reply:
    """As with AWS, one that is not there is deleted already."""
    function = call.named.function
    await present(call, function)
    with suppress(NotFound):
        await call.access.remove_alias(function, _checked(call.path["alias"]), why=WHY)
    return Reply(status=HTTPStatus.NO_CONTENT)


async def _alias(call: Call) -> Stored[Alias]:
    function, name = call.named.function, _checked(call.path["alias"])
    await present(call, function)
    try:
        return await call.access.alias(function, name)
    except NotFound:
        raise missing(f"Cannot find alias arn: {call.arn(function, name)}") from None


def _checked(name: str) -> str:
    if name == names.LATEST_ALIAS:
        raise invalid(f'the alias "{name}" keeps $LATEST running, and is moved by updates of the code alone')
    return check_alias_name(name)


def _shown(alias: Alias, query: Mapping[str, str]) -> bool:
    wanted = query.get("FunctionVersion")
    if alias.name == names.LATEST_ALIAS:
        return False
    return wanted is None or alias.weights.get(shares.number_of(wanted), 0) > 0


def _updated(before: Alias, asked: Updating) -> Weights:
    """What is not said stays as it is; an empty RoutingConfig takes the other versions away."""
    main, others = shares.described(before)
    if asked.function_version is not None and asked.routing_config is None:
        others = {version: part for version, part in others.items() if version != asked.function_version}
    elif asked.routing_config is not None:
        others = _additional(asked.routing_config)
    return shares.weights_of(asked.function_version or main, others)


def _additional(routing: Routing | None) -> dict[str, float]:
    return (routing.additional_version_weights if routing else None) or {}


def _described(stored: Stored[Alias], call: Call) -> Configuration:
    alias = stored.value
    main, others = shares.described(alias)
    return Configuration(
        alias_arn=call.arn(alias.function, alias.name),
        name=alias.name,
        function_version=main,
        description=alias.history[-1].why if alias.history else "",
        routing_config=Routing(others) if others else UNSET,
        revision_id=str(stored.mod_revision),
    )
