"""What the agent tells an instance at its start."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from .limits import Limits


@dataclass(frozen=True, slots=True)
class Order:
    function: str
    version: int
    kind: str
    """handler, asgi or wsgi."""
    entrypoint: str
    code: str
    """Folder of the function; the first on the import path."""
    packages: str
    """Folder of those that were vendored with it, the next one; empty if there are none."""
    socket: int
    """Descriptor of the bound socket."""
    ready: int
    """Descriptor for the one line of `ready.py`."""
    concurrency: int
    timeout: float
    """Seconds."""
    memory: int
    """MiB."""
    load: int
    """Descriptor of the file of `load.py`."""
    limits: Limits


def parse(text: str) -> Order:
    return of(json.loads(text))


def of(fields: dict[str, Any]) -> Order:
    return Order(**fields | {"limits": Limits(**fields["limits"])})


def encode(order: Order) -> str:
    return json.dumps(asdict(order))
