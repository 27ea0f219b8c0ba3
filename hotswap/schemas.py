"""JSON Schemas that a version is published with: what its events and its answers look like (Draft 2020-12).

A schema stands on its own: nothing is fetched for it.
"""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from hotswap.errors import Invalid

MOST_SHOWN = 300
"""Characters of what is wrong with a document."""


def check(schema: Any, *, where: str) -> None:
    """Raises `Invalid` for what is no schema, or names another one."""
    try:
        Draft202012Validator.check_schema(schema)
        violation(schema, None)
    except SchemaError as error:
        raise Invalid(f"{where} is no JSON Schema: {error.message[:MOST_SHOWN]}") from None
    except Unresolvable as error:
        raise Invalid(f"{where} names a schema that is not part of it: {error.ref}", hint="write it out") from None


def violation(schema: Any, document: Any) -> str | None:
    """What is wrong with a document by the schema, and where in it; `None` if nothing is."""
    error = best_match(Draft202012Validator(schema, registry=Registry()).iter_errors(document))
    return None if error is None else f"{error.json_path}: {error.message}"[:MOST_SHOWN]
