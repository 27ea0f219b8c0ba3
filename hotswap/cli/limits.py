"""How long a router waits for others, as options: one for each field of `RouterLimits`."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any

import click

from hotswap.cli.durations import DURATION
from hotswap.settings import RouterLimits

HELP = {
    "head_timeout": "Client: until the head of a request is whole, from its first byte.",
    "body_timeout": "Client: between two reads of a request's body.",
    "write_timeout": "Client: while it takes nothing of its answer.",
    "keep_alive": "Client: a connection with no request on its way.",
    "linger": "Client: reading on after an answer that came before the end of the body.",
    "connect_timeout": "Instance: until it takes a connection.",
    "instance_keep_alive": "Instance: a connection kept for the next request. Shorter than it keeps one itself.",
}


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """They reach the command as `limits`."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        limits = RouterLimits(**{name: options.pop(name) for name in HELP})
        command(*arguments, limits=limits, **options)

    for field in reversed(fields(RouterLimits)):
        flag, default = f"--{field.name.replace('_', '-')}", f"{field.default:g}s"
        run = click.option(flag, type=DURATION, default=default, help=HELP[field.name])(run)
    return run
