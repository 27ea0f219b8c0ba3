"""Aliases: listed, read, given weights by hand."""

from typing import Annotated

from msgspec import Meta

from controller.api.rest import documents
from controller.api.rest.functions import OfFunction
from controller.api.rest.route import Answer, Api, Call, Nothing
from hotswap.model import Model, Weights

NAME = {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", "not": {"pattern": "^[0-9]+$"}}
"""What `check_alias_name` allows."""


class OfAlias(OfFunction, frozen=True, kw_only=True):
    alias: Annotated[str, Meta(extra_json_schema=NAME)]


class Weighing(Model, frozen=True, kw_only=True):
    weights: Weights
    reason: str = ""
    """For the record."""


EXAMPLE = {"weights": {"5": 90, "6": 10}, "reason": "a look at version 6"}


async def find(api: Api, call: Call[OfFunction, Nothing]) -> Answer:
    found = await api.service.aliases(call.parameters.function)
    return Answer(documents.AliasList(aliases=[documents.alias(one) for one in found]))


async def get(api: Api, call: Call[OfAlias, Nothing]) -> Answer:
    stored = await api.service.alias(call.parameters.function, call.parameters.alias)
    return Answer(documents.alias(stored.value), revision=stored.mod_revision)


async def weigh(api: Api, call: Call[OfAlias, Weighing]) -> Answer:
    """Versions that do not run are started first, so that an alias never routes to nothing."""
    stored = await api.weights.set(
        call.parameters.function,
        call.parameters.alias,
        call.body.weights,
        who=call.who,
        why=call.body.reason,
        expected=call.expected,
    )
    return Answer(documents.alias(stored.value), revision=stored.mod_revision)
