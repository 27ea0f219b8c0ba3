"""What a process that was forked from the zygote is told, and how it becomes the instance that it is to be."""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass

from . import guise, order


@dataclass(frozen=True, slots=True)
class Birth:
    instance: str
    order: order.Order
    """Its descriptors are the ones that were passed."""
    environment: dict[str, str]
    folder: str
    """To work in."""
    bytecode: str
    """Folder for compiled modules."""
    preloaded: list[str]
    """What was imported for every function; one that brings its own gets its own."""
    packages: str
    """Where that came from; empty for the platform."""


def encode(birth: Birth) -> bytes:
    return json.dumps(asdict(birth)).encode()


def take(told: int, socket: int, ready: int, load: int, output: int) -> Birth:
    """Becomes the instance, as far as its surroundings are concerned; closes what is not for it."""
    with open(told, "rb") as file:
        fields = json.load(file)
    found = fields.pop("order") | {"socket": socket, "ready": ready, "load": load}
    birth = Birth(order=order.of(found), **fields)
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    guise.name(f"{birth.order.function}:{birth.order.version} {birth.instance}")
    guise.take(birth.environment)
    os.environ.clear()
    os.environ.update(birth.environment)
    time.tzset()
    os.chdir(birth.folder)
    sys.pycache_prefix = birth.bytecode
    _forget(birth)
    return birth


def _forget(birth: Birth) -> None:
    """What the function brings itself is imported anew, and from its own folder."""
    folders = [birth.order.code]
    if birth.order.packages and birth.order.packages != birth.packages:
        folders.append(birth.order.packages)
    for name in birth.preloaded:
        top = name.partition(".")[0]
        if any(os.path.exists(os.path.join(folder, file)) for folder in folders for file in (top, f"{top}.py")):
            for loaded in [one for one in sys.modules if one == top or one.startswith(f"{top}.")]:
                del sys.modules[loaded]
