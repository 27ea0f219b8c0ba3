"""What compiled packages have to fit: the platform and the Python of the nodes that a function may run on."""

import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hotswap.errors import Invalid

MANYLINUX = re.compile(r"manylinux_2_(?P<minor>\d+)_(?P<machine>\w+)")
OLDER = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""By the minor version of the C library, the names that wheels had for it before (PEP 600)."""
OLDEST = min(OLDER)
PYTHON = re.compile(r"3\.\d{1,2}")
PLATFORM = re.compile(r"[a-z0-9_]+")
PYTHON_TAG = re.compile(r"(?P<any>py|cp)3(?P<minor>\d*)")


@dataclass(frozen=True, slots=True)
class Runtime:
    platform: str = ""
    """As in the names of wheels, `manylinux_2_28_aarch64`; empty for this machine's."""
    python: str = ""
    """`3.12`; empty for the one that runs now."""

    def check(self) -> None:
        if self.python and not PYTHON.fullmatch(self.python):
            raise Invalid(f'--python: "{self.python}" is no version of Python', hint="for example --python 3.12")
        if self.platform and not PLATFORM.fullmatch(self.platform):
            raise Invalid(
                f'--platform: "{self.platform}" is no platform as wheels name them',
                hint="for example --platform manylinux_2_28_aarch64",
            )

    def __str__(self) -> str:
        return f"{self.platform or HERE.platform}, Python {self.python or HERE.python}"

    @property
    def options(self) -> list[str]:
        """For pip, which takes what it runs on itself where it is told nothing."""
        python = self.python or HERE.python
        abi = f"cp{python.replace('.', '')}"
        tags = ["--python-version", python, "--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
        if self.platform:
            return [*(text for one in _fitting(self.platform) for text in ("--platform", one)), *tags]
        return tags if self.python else []


def _fitting(told: str) -> list[str]:
    """All that runs where wheels of this platform do, the newest first: pip looks for the very ones that it is told."""
    parts = MANYLINUX.fullmatch(told)
    if not parts:
        return [told]
    machine = parts["machine"]
    found = []
    for minor in range(int(parts["minor"]), OLDEST - 1, -1):
        found.append(f"manylinux_2_{minor}_{machine}")
        if minor in OLDER:
            found.append(f"{OLDER[minor]}_{machine}")
    return [*found, f"linux_{machine}"]


def _here() -> Runtime:
    """Of this process."""
    machine = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    library, version = platform.libc_ver()
    if library == "glibc" and version.startswith("2.") and machine.startswith("linux_"):
        machine = f"many{machine[:5]}_{version.replace('.', '_')}{machine[5:]}"
    return Runtime(machine, f"{sys.version_info.major}.{sys.version_info.minor}")


HERE = _here()


def fits_here(tag: str) -> bool:
    """Whether a wheel of this tag, as `cp311-cp311-manylinux_2_17_x86_64`, runs in this interpreter on this machine.

    What cannot be told fits.
    """
    parts = tag.strip().split("-")
    if len(parts) != 3:
        return True
    pythons, abis, platforms = (part.split(".") for part in parts)
    if not any(_speaks(python, abi) for python in pythons for abi in abis):
        return False
    known = MANYLINUX.fullmatch(HERE.platform)
    return not known or not {"any", *_fitting(HERE.platform)}.isdisjoint(platforms)


def _speaks(python: str, abi: str) -> bool:
    told = PYTHON_TAG.fullmatch(python)
    if not told:
        return False
    minor, here = int(told["minor"] or 0), int(HERE.python.partition(".")[2])
    return minor == here or (minor < here and (told["any"] == "py" or abi in {"abi3", "none"}))


class Node(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def platform(self) -> str: ...

    @property
    def python(self) -> str: ...


def common(nodes: Iterable[Node], labels: Mapping[str, str]) -> Runtime:
    """One that fits all nodes with these labels; this machine's if none of them tells. Raises `Invalid` where there is
    none."""
    found: dict[Runtime, list[str]] = {}
    for node in nodes:
        if node.platform and labels.items() <= node.labels.items():
            found.setdefault(Runtime(node.platform, node.python), []).append(node.name)
    oldest = _oldest(list(found))
    if oldest is not None:
        return Runtime() if oldest == HERE else oldest
    told = "\n".join(f"  {', '.join(names)}: {runtime}" for runtime, names in found.items())
    raise Invalid(
        f"no packages fit all nodes that the function may run on:\n{told}",
        hint="publish for some of them with --platform and --python, and keep the function on these by labels in its "
        "[placement]",
    )


def _oldest(found: list[Runtime]) -> Runtime | None:
    """What runs on one runs on those with a newer C library, too."""
    if len(found) < 2:
        return found[0] if found else Runtime()
    parts = [MANYLINUX.fullmatch(runtime.platform) for runtime in found]
    alike = {(part and part["machine"], runtime.python) for part, runtime in zip(parts, found, strict=True)}
    if len(alike) > 1 or not all(parts):
        return None
    return min(found, key=lambda runtime: int(runtime.platform.split("_")[2]))
