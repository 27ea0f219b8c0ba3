"""What other processes see of a forked one: its variables in `/proc/PID/environ`, its name in the list of processes.

Both are the memory that the zygote was started with, which a child can write to. So the zygote is started with room for
them: a variable and an argument of filler, which are found once and then written over.
"""

import ctypes

FILLER = "_"
VARIABLE = "HOTSWAP_ROOM"
ROOM = 128
"""Characters of the argument."""
ENVIRONMENT_ROOM = 8192
"""Of the variable."""

_places: dict[str, tuple[int, int]] = {}
"""What is shown there -> address and size."""


def find() -> None:
    """In the zygote, before anything changes its environment."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    arguments, arguments_end, environment, environment_end = map(int, fields[45:49])
    _places["name"] = _filled(arguments, arguments_end, FILLER * ROOM)
    _places["environment"] = _filled(environment, environment_end, f"{VARIABLE}={FILLER * ENVIRONMENT_ROOM}")


def take(environment: dict[str, str]) -> None:
    """What there is room for, in its order."""
    shown, room = b"", _places["environment"][1]
    for key, value in environment.items():
        line = f"{key}={value}".encode(errors="surrogateescape") + b"\0"
        if len(shown) + len(line) <= room:
            shown += line
    _write("environment", shown)


def name(text: str) -> None:
    _write("name", text.encode())


def _filled(begin: int, end: int, filler: str) -> tuple[int, int]:
    memory = ctypes.string_at(begin, end - begin)
    return begin + memory.index(filler.encode()), len(filler)


def _write(what: str, text: bytes) -> None:
    address, size = _places[what]
    ctypes.memmove(address, text[:size].ljust(size, b"\0"), size)
