"""`hotswap.toml`, the file beside a function's code that says how to run it.

Keys are snake_case, durations are written "30s", "1m30s" or as ISO 8601, and `sample_payload` is a TOML value or a
string of JSON. A person wrote it, so each error names the file, the field and what the field may be.
"""

import re
import shlex
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from hotswap import durations
from hotswap.errors import Invalid
from hotswap.model import ENVIRONMENT_NAME, Kind, Manifest, Schemas, check_function_name

FILE = "hotswap.toml"

ENTRYPOINT = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
RESERVED_ENVIRONMENT = ("PORT", "HOTSWAP_", "AWS_LAMBDA_", "LD_PRELOAD")
"""Names, or beginnings of names, that the agent sets or that would reach into the process before the function."""

DURATIONS = ("timeout", "start_timeout", "drain_timeout", "idle_timeout")
A_DURATION = 'a duration longer than 0: "30s", "1m30s" or "PT30S"'
ALLOWED = {
    "function": "a name of 1 to 63 lower-case letters, digits and hyphens",
    "kind": "one of " + ", ".join(f'"{kind}"' for kind in Kind),
    "entrypoint": '"module:attribute"; for the kind "http" a command, such as ["./server", "--quiet"]',
    "description": "a text",
    "concurrency": "a whole number from 1 to 10000",
    "timeout": A_DURATION,
    "start_timeout": A_DURATION,
    "drain_timeout": A_DURATION,
    "memory": "MiB, a whole number from 16 to 1048576",
    "processes": "a whole number from 1 to 1000000",
    "files": "a whole number from 64 to 1000000",
    "cpu": "cores, a number from 0.01 to 1024",
    "disk": "MiB, a whole number from 1 to 1048576",
    "max_body": "bytes, a whole number from 0",
    "min_instances": "a whole number from 0 to 1000",
    "max_instances": "a whole number from 1 to 1000, not below min_instances",
    "idle_timeout": A_DURATION,
    "env": "a table of names and texts",
    "sample_payload": "a JSON event: a TOML table, or a text that holds JSON",
    "schemas": "a table: input and output, each a JSON Schema as a TOML table or as a text that holds JSON",
    "placement": 'a table: labels = { zone = "a" }',
}
"""What each field may be, as it is told when it is something else."""


def read(folder: Path) -> Manifest:
    """The manifest of a function's folder; raises `Invalid`."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = f'write one: function = "{_name_for(folder)}", kind = "handler", entrypoint = "app:handler"'
        raise Invalid(f"{folder} has no {FILE}", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}") from None
    manifest = parse(text, where=str(path))
    _check_sample(manifest, where=str(path))
    return manifest


def parse(text: str, *, where: str = FILE) -> Manifest:
    """`where` names the file in errors; raises `Invalid`. The sample payload is not held against its schema, which may
    take any time: see `check_sample_apart`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{where} is not TOML: {error}") from None
    for name in document:
        if name not in ALLOWED:
            close = get_close_matches(name, ALLOWED, n=1)
            hint = f'did you mean "{close[0]}"?' if close else "the fields are " + ", ".join(ALLOWED)
            raise Invalid(f'{where}: there is no field "{name}"', hint=hint)
    for name in ("function", "kind", "entrypoint"):
        if name not in document:
            raise Invalid(f'{where}: the field "{name}" is missing; it is {ALLOWED[name]}')
    return _check(_typed(document, where=where), where=where)


def write(manifest: Manifest) -> str:
    """The file that says this: what `parse` reads from it is the same manifest."""
    told = msgspec.json.decode(msgspec.json.encode(manifest))
    fields = {_snake(name): value for name, value in told.items() if value is not None}
    for name in ("sample_payload", "schemas"):
        if name in fields:
            fields[name] = _texts(fields[name]) if name == "schemas" else msgspec.json.encode(fields[name]).decode()
    return "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items())


def _texts(schemas: Mapping[str, Any]) -> dict[str, str]:
    return {name: msgspec.json.encode(schema).decode() for name, schema in schemas.items()}


def _toml(value: Any) -> str:
    """A text of JSON is one of TOML, but for DEL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(name)} = {_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def _typed(document: Mapping[str, Any], *, where: str) -> Manifest:
    fields = dict(document)
    for name in DURATIONS:
        if name in fields:
            fields[name] = _duration(fields[name], name, where=where)
    if "sample_payload" in fields:
        fields["sample_payload"] = _json(fields["sample_payload"], "sample_payload", where=where)
    if isinstance(fields.get("schemas"), dict):
        schemas = fields["schemas"].items()
        fields["schemas"] = {name: _json(it, f"schemas.{name}", where=where) for name, it in schemas}
    if fields["kind"] == Kind.HTTP and isinstance(fields["entrypoint"], str):
        fields["entrypoint"] = _command(fields["entrypoint"], where=where)
    try:
        return msgspec.json.decode(
            msgspec.json.encode({_camel(name): it for name, it in fields.items()}), type=Manifest
        )
    except msgspec.ValidationError as error:
        field, said = _field_of(error)
        raise _wrong(where, field, said) from None


def _check(manifest: Manifest, *, where: str) -> Manifest:
    """What the types cannot say."""
    try:
        check_function_name(manifest.function)
    except Invalid as error:
        raise _wrong(where, "function", error.message) from None
    match manifest.kind, manifest.entrypoint:
        case Kind.HTTP, list(command) if command and command[0]:
            pass
        case ((Kind.HANDLER | Kind.ASGI | Kind.WSGI), str(entrypoint)) if ENTRYPOINT.fullmatch(entrypoint):
            pass
        case _:
            raise _wrong(where, "entrypoint", f"{manifest.entrypoint!r} is none for the kind {manifest.kind}")
    parts = [manifest.entrypoint] if isinstance(manifest.entrypoint, str) else manifest.entrypoint
    if any("\0" in text for text in (*parts, *manifest.env.values())):
        raise Invalid(f"{where}: the entrypoint or a value of env holds a NUL byte, which no process can be given")
    for name in manifest.env:
        if not ENVIRONMENT_NAME.fullmatch(name):
            raise _wrong(where, "env", f'"{name}" cannot name a variable')
        if name.startswith(RESERVED_ENVIRONMENT) or (manifest.kind is Kind.HTTP and name == "HOST"):
            raise Invalid(f'{where}: the field "env" sets {name}, which is the platform\'s', hint="use another name")
    _check_instances(manifest, where=where)
    if manifest.schemas != Schemas():
        _check_schemas(manifest, where=where)
    return manifest


def _check_instances(manifest: Manifest, *, where: str) -> None:
    least, most = manifest.min_instances, manifest.most_instances
    if most < least:
        raise _wrong(where, "max_instances", f"{most} is below min_instances, which is {least}")
    if manifest.kind is Kind.HTTP and manifest.elastic:
        raise Invalid(
            f'{where}: a function of the kind "http" always runs as many instances as it may, but min_instances is '
            f"{least} and max_instances {most}",
            hint=f"set both to {most}: a program binds its port itself, so nobody can listen there before it runs",
        )


def _check_schemas(manifest: Manifest, *, where: str) -> None:
    from hotswap import schemas  # what few manifests need is imported for these alone

    for name, schema in (("input", manifest.schemas.input), ("output", manifest.schemas.output)):
        if not isinstance(schema, msgspec.UnsetType):
            schemas.check(msgspec.json.decode(schema), where=f'{where}: the field "schemas.{name}"')


def _check_sample(manifest: Manifest, *, where: str) -> None:
    """In this process, which is the one of the person who wrote the schema."""
    from hotswap import schemas

    if sample := _sample(manifest):
        schema, payload = sample
        _refuse(schemas.violation(msgspec.json.decode(schema), msgspec.json.decode(payload)), where=where)


async def check_sample_apart(manifest: Manifest, *, where: str = FILE) -> None:
    """For a service, which nobody's schema may hold up; raises `Invalid`."""
    from hotswap.fitting import misfit

    if sample := _sample(manifest):
        _refuse(await misfit(*sample), where=where)


def _sample(manifest: Manifest) -> tuple[bytes, bytes] | None:
    """The input schema and what has to fit it, where there are both."""
    schema, payload = manifest.schemas.input, manifest.sample_payload
    if isinstance(schema, msgspec.UnsetType) or isinstance(payload, msgspec.UnsetType):
        return None
    return bytes(schema), bytes(payload)


def _refuse(wrong: str | None, *, where: str) -> None:
    if wrong:
        field = f'{where}: the field "schemas.input"'
        raise Invalid(f"{field} does not allow sample_payload: {wrong}", hint="change one of them")


def _duration(value: object, name: str, *, where: str) -> timedelta:
    if not isinstance(value, str):
        raise _wrong(where, name, f"{value!r} is not a text")
    try:
        return durations.parse(value)
    except ValueError as error:
        raise _wrong(where, name, str(error)) from None


def _json(value: Any, field: str, *, where: str) -> msgspec.Raw:
    if not isinstance(value, str):
        return msgspec.Raw(msgspec.json.encode(value))
    try:
        msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise _wrong(where, field, f"the text is not JSON: {error}") from None
    return msgspec.Raw(value.encode())


def _command(text: str, *, where: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _wrong(where, "entrypoint", f"the command cannot be split: {error}") from None


def _wrong(where: str, field: str, said: str) -> Invalid:
    allowed = ALLOWED.get(field.partition(".")[0])
    return Invalid(f'{where}: the field "{field}": {said}' + (f"; it may be {allowed}" if allowed else ""))


def _field_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """The path in snake_case, and what msgspec says of it."""
    said, _, path = str(error).partition(" - at `$")
    return _snake(path.rstrip("`").lstrip(".")), said[:1].lower() + said[1:]


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: "_" + letter.group().lower(), name)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


def _name_for(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "my-function"
