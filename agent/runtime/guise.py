"""What other processes see of a forked one: its instance in `/proc/PID/environ`, its name in the list of processes.

Both are the memory that the zygote was started with, which a child can write to. So the zygote is started with room for
them: a variable and an argument of filler, which are found once and then written over.
"""

import ctypes

FILLER = "_"
VARIABLE = "HOTSWAP_INSTANCE"
ROOM = 128
"""Characters of the argument."""

_places: dict[str, tuple[int, int]] = {}
"""What is shown there -> address and size."""


def find() -> None:
    """In the zygote, before anything changes its environment."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    arguments, arguments_end, environment, environment_end = map(int, fields[45:49])
    _places["name"] = _filler(arguments, arguments_end, b"\0")
    _places["instance"] = _filler(environment, environment_end, f"{VARIABLE}=".encode())


def take(instance: str, name: str) -> None:
    _write("instance", instance)
    _write("name", name)


def _filler(begin: int, end: int, before: bytes) -> tuple[int, int]:
    """The place of the first filler after these bytes."""
    memory = ctypes.string_at(begin, end - begin)
    place = memory.index(before + FILLER.encode()) + len(before)
    size = len(memory[place:].partition(b"\0")[0])
    return begin + place, size


def _write(what: str, text: str) -> None:
    address, size = _places[what]
    ctypes.memmove(address, text.encode()[:size].ljust(size, b"\0"), size)
