"""A version as AWS describes one, and a manifest from what AWS's users say of their function. Pure.

A version made here runs one invocation at a time, as every execution environment of Lambda's does: its code may rely on
that. What Lambda has settings for and we have not is taken where it changes nothing for the code, else refused.
"""

import base64
import math
import platform
import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from controller.api.aws import names
from controller.api.aws.faults import invalid, not_covered
from hotswap.model import Kind, Manifest, Version

TIMEOUT = 3
"""Seconds, as with Lambda, where nobody says."""
LONGEST = 900
MEMORY = 128
"""MiB."""
RUNTIME = re.compile(r"python3\.[0-9]{1,2}")
HANDLER = re.compile(r"[^\s.]+(?:\.[^\s.]+)+")
ARCHITECTURES = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
"""By what the system calls its machine."""
IGNORED = frozenset({"FunctionName", "Role", "Tags", "TracingConfig", "LoggingConfig", "Architectures", "RevisionId"})
"""Taken without effect, beside what is used: none of it changes what the code does."""

EMPTY = (b"null", b"false", b'""', b"[]", b"{}")


class Environment(Struct, frozen=True, rename="pascal"):
    variables: dict[str, str] = {}


class Settings(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What CreateFunction and UpdateFunctionConfiguration say alike; `UNSET` leaves it as it is."""

    runtime: str | UnsetType = UNSET
    handler: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    memory_size: int | UnsetType = UNSET
    environment: Environment | UnsetType = UNSET
    package_type: str = "Zip"


class Configuration(Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """FunctionConfiguration of the service model."""

    function_name: str
    function_arn: str
    runtime: str = ""
    role: str
    handler: str
    code_size: int
    code_sha256: str
    description: str | UnsetType
    timeout: int
    memory_size: int
    last_modified: str
    version: str
    environment: Environment | UnsetType = UNSET
    revision_id: str
    state: str | UnsetType = UNSET
    last_update_status: str | UnsetType = UNSET
    package_type: str | UnsetType
    architectures: list[str]


def check_covered(document: Mapping[str, Raw], used: frozenset[str]) -> None:
    """Raises `Fault` for what would be ignored though it means something; an empty value means nothing."""
    for name, value in document.items():
        if name not in used | IGNORED and bytes(value) not in EMPTY:
            raise not_covered(name)


def fresh(function: str, settings: Settings) -> Manifest:
    """Of a new function. Raises `Fault`."""
    for name, value in (("Runtime", settings.runtime), ("Handler", settings.handler)):
        if isinstance(value, UnsetType):
            raise invalid(f"{name} is missing")
    manifest = Manifest(function=function, kind=Kind.HANDLER, entrypoint="", concurrency=1)
    usual = Settings(timeout=TIMEOUT, memory_size=MEMORY)
    return changed(changed(manifest, usual), settings)


def changed(manifest: Manifest, settings: Settings) -> Manifest:
    """Raises `Fault`; the manifest's own rules are held when it is published."""
    if settings.package_type != "Zip":
        raise not_covered(f"PackageType {settings.package_type}")
    fields: dict[str, Any] = {}
    if not isinstance(settings.runtime, UnsetType) and not RUNTIME.fullmatch(settings.runtime):
        raise invalid(
            f"Value {settings.runtime} at 'runtime' is not covered: functions are run by this platform's Python",
            hint="name python3.x; other languages are run as the kind http, by hotswap publish",
        )
    if not isinstance(settings.handler, UnsetType):
        fields["entrypoint"] = _entrypoint(settings.handler)
    if not isinstance(settings.timeout, UnsetType):
        fields["timeout"] = timedelta(seconds=_within("Timeout", settings.timeout, 1, LONGEST))
    if not isinstance(settings.memory_size, UnsetType):
        fields["memory"] = _within("MemorySize", settings.memory_size, MEMORY, 10_240)
    if not isinstance(settings.environment, UnsetType):
        fields["env"] = settings.environment.variables
    if not isinstance(settings.description, UnsetType):
        fields["description"] = settings.description
    return replace(manifest, **fields)


def of(version: Version, *, region: str, revision: str, latest: bool, qualified: bool) -> Configuration:
    """`latest`: as `$LATEST`; `qualified`: with the qualifier in its ARN."""
    manifest = version.manifest
    name = names.LATEST if latest else str(version.number)
    return Configuration(
        function_name=version.function,
        function_arn=names.arn(version.function, name if qualified else "", region=region),
        runtime=_runtime() if manifest.kind is Kind.HANDLER else "",
        role=f"arn:aws:iam::{names.ACCOUNT}:role/hotswap",
        handler=_handler(manifest),
        code_size=version.size,
        code_sha256=base64.b64encode(bytes.fromhex(version.artifact)).decode(),
        description=manifest.description,
        timeout=max(1, math.ceil(manifest.timeout.total_seconds())),
        memory_size=manifest.memory,
        last_modified=_time(version.published),
        version=name,
        environment=Environment(variables=manifest.env) if manifest.env else UNSET,
        revision_id=revision,
        state="Active",
        last_update_status="Successful",
        package_type="Zip",
        architectures=[ARCHITECTURES.get(platform.machine(), "x86_64")],
    )


def _entrypoint(handler: str) -> str:
    """`folder/module.function` as `folder.module:function`."""
    if not HANDLER.fullmatch(handler):
        raise invalid(f'Handler is "{handler}"; it must be MODULE.FUNCTION')
    module, _, function = handler.rpartition(".")
    return f"{module.replace('/', '.')}:{function}"


def _handler(manifest: Manifest) -> str:
    if isinstance(manifest.entrypoint, str):
        return manifest.entrypoint.replace(":", ".")
    return shlex.join(manifest.entrypoint)


def _runtime() -> str:
    """What runs it, whatever minor version was asked for."""
    major, minor, _ = platform.python_version_tuple()
    return f"python{major}.{minor}"


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise invalid(f"{name} is {value}; it must be {least} to {most}")
    return value


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")
