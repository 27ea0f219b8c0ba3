"""What a person asks for with `hotswap deploy`, as the guide's JSON.

A configuration may be the whole request or only its `config`: it is the whole one when it names a function or a
strategy. What the command line says and what the configuration says must not contradict each other.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from hotswap import requests
from hotswap.errors import Invalid

WHOLE = ("functionName", "strategy", "version")
"""Any of these makes a configuration a whole request."""


def _plain(name: str) -> str:
    return name.replace("-", "").lower()


class StrategyName(click.ParamType[str]):
    """`all-at-once` for people, `AllAtOnce` as in the guide: both are understood."""

    name = "strategy"
    NAMES = {"all-at-once": "AllAtOnce", "canary": "Canary", "blue-green": "BlueGreen", "rolling": "Rolling",
             "ab-testing": "ABTesting"}  # fmt: skip

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        strategies = {_plain(name): strategy for name, strategy in self.NAMES.items()}
        if _plain(value) not in strategies:
            self.fail(f'"{value}" is none of {", ".join(self.NAMES)}', param, ctx)
        return strategies[_plain(value)]

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join(self.NAMES)


STRATEGY = StrategyName()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says; `None` where it says nothing."""

    function: str | None
    version: int | None
    strategy: str | None = None
    alias: str | None = None
    preset: str | None = None
    on_conflict: str | None = None
    force: bool = False
    why: str = ""


def read(source: str, *, option: str = "--config") -> dict[str, Any]:
    """The JSON object in a file, or on standard input for `-`; the option that named it is told with what is wrong."""
    where = "standard input" if source == "-" else source
    try:
        text = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise Invalid(f"{option}: {where} cannot be read: {error.strerror}") from None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        hint = 'for example {"canaryPercentage": 10}'
        raise Invalid(f"{option}: {where} is not a JSON object: {error}", hint=hint) from None


def build(asked: Asked, given: dict[str, Any]) -> str:
    """The request in the guide's JSON, checked; raises `Invalid` that names the field."""
    whole = dict(given) if any(name in given for name in WHOLE) else {"config": given} if given else {}
    _agree(whole, functionName=asked.function, version=asked.version, strategy=asked.strategy)
    _agree(whole, alias=asked.alias, reason=asked.why or None, onConflict=asked.on_conflict, force=asked.force or None)
    if "strategy" not in whole:
        command = f"hotswap deploy {asked.function or 'FUNCTION'} {asked.version or 'VERSION'} --strategy canary"
        raise Invalid("no strategy is named, neither on the command line nor in the configuration", hint=command)
    config = whole.get("config", {})
    if asked.preset and isinstance(config, dict):
        whole["config"] = dict(config)
        _agree(whole["config"], preset=asked.preset)
    text = msgspec.json.encode(whole).decode()
    requests.parse(text)
    return text


def _agree(whole: dict[str, Any], **said: str | int | None) -> None:
    """Adds what the command line says, unless the configuration says something else."""
    for name, value in said.items():
        if value is not None and whole.setdefault(name, value) != value:
            raise Invalid(f"the command line says {name} {value}, the configuration says {whole[name]}")
