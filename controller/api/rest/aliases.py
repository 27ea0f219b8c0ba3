"""Aliases: listed, read, given weights by hand."""

from typing import Annotated

from msgspec import Meta

from controller.api.rest import documents
from controller.api.rest.route import Answer, Api, Call, Nothing
from controller.api.rest.sending import OfFunction
from hotswap.model import Model, VersionNumber, Weights

NAME = {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", "not": {"pattern": "^[0-9]+$"}}
"""What `check_alias_name` allows."""


class OfAlias(OfFunction, frozen=True, kw_only=True):
    alias: Annotated[str, Meta(extra_json_schema=NAME)]


class Weighing(Model, frozen=True, kw_only=True):
    weights: Weights
    reason: str = ""
    """For the record."""
    override: bool = False
    """Though a deployment runs on the alias, which then stands still."""


class Undoing(Model, frozen=True, kw_only=True):
    to_version: VersionNumber | None = None
    """By default the version before the present one."""
    reason: str = ""


EXAMPLE = {"weights": {"5": 90, "6": 10}, "reason": "a look at version 6"}


async def find(api: Api, call: Call[OfFunction, Nothing]) -> Answer:
    found = await call.access.aliases(call.parameters.function)
    return Answer(documents.AliasList(aliases=[documents.alias(one) for one in found]))


async def get(api: Api, call: Call[OfAlias, Nothing]) -> Answer:
    stored = await call.access.alias(call.parameters.function, call.parameters.alias)
    return Answer(documents.alias(stored.value), revision=stored.mod_revision)


async def weigh(api: Api, call: Call[OfAlias, Weighing]) -> Answer:
    """Versions that do not run are started first, so that an alias never routes to nothing."""
    stored = await call.access.set_weights(
        call.parameters.function,
        call.parameters.alias,
        call.body.weights,
        why=call.body.reason,
        override=call.body.override,
        expected=call.expected,
    )
    return Answer(documents.alias(stored.value), revision=stored.mod_revision)


async def undo(api: Api, call: Call[OfAlias, Undoing]) -> Answer:
    """A deployment of the earlier version, all at once."""
    wanted = call.parameters
    undone = await call.access.undo(
        wanted.function, wanted.alias, to_version=call.body.to_version, why=call.body.reason
    )
    return Answer(documents.deployment(undone), location=f"/deployments/{undone.id}")
