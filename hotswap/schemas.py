"""JSON Schemas that a version is published with: what its events and its answers look like (Draft 2020-12).

A schema stands on its own: nothing is fetched for it.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from hotswap.errors import Invalid

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCES = ("$ref", "$dynamicRef")
MOST_SHOWN = 300
"""Characters of what is wrong with a document."""


def check(schema: Any, *, where: str) -> None:
    """Raises `Invalid` for what is no schema, or names another one."""
    if isinstance(schema, dict) and (dialect := schema.get("$schema", DIALECT)) != DIALECT:
        hint = f'leave "$schema" out, or make it "{DIALECT}"'
        raise Invalid(f'{where} has the "$schema" {str(dialect)[:MOST_SHOWN]}, which is not known', hint=hint)
    try:
        Draft202012Validator.check_schema(schema)
        for reference in _dangling(schema):
            raise Invalid(f"{where} names a schema that is not part of it: {reference}", hint="write it out")
    except SchemaError as error:
        raise Invalid(f"{where} is no JSON Schema: {error.message[:MOST_SHOWN]}") from None
    except ValueError as error:  # of an `$id` that is no address
        raise Invalid(f"{where} is no JSON Schema: {error}") from None
    except RecursionError:
        raise Invalid(f"{where} is nested too deeply") from None


def violation(schema: Any, document: Any) -> str | None:
    """What is wrong with a document by the schema, and where in it; `None` if nothing is."""
    try:
        error = best_match(Draft202012Validator(schema, registry=Registry()).iter_errors(document))
    except RecursionError:
        return "the schema, or what it is applied to, is nested without end"
    except Unresolvable as missing:
        return f"the schema names one that is not part of it: {missing.ref}"
    return None if error is None else f"{error.json_path}: {error.message}"[:MOST_SHOWN]


def _dangling(schema: Any) -> Iterator[str]:
    """References that lead nowhere, however deep they stand."""
    root = DRAFT202012.create_resource(schema)
    base = root.id() or ""
    pending = [(root, Registry().with_resource(base, root).crawl().resolver(base))]
    while pending:
        resource, resolver = pending.pop()
        contents = resource.contents
        for reference in (contents.get(name) for name in REFERENCES) if isinstance(contents, dict) else ():
            if isinstance(reference, str):
                try:
                    resolver.lookup(reference)
                except Unresolvable:
                    yield reference
        pending += [(below, resolver.in_subresource(below)) for below in resource.subresources()]
