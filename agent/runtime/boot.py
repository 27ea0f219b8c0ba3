"""The script that an instance begins as; exec'd by path with `python -I`.

    boot.py serve ORDER                      runs a handler, asgi or wsgi function; ORDER is the JSON of `order.Order`
    boot.py zygote CHANNEL ROOM PACKAGES BYTECODE MODULE…
                                             forks such functions, with these modules imported; see `zygote.py`
    boot.py confined LIMITS COMMAND…         becomes what runs one of these in a sandbox
    boot.py program LIMITS READY COMMAND…    becomes a program of kind http; LIMITS is the JSON of `limits.Limits`

A function that cannot be started is told through the ready descriptor, and the exit code is 3. After SIGTERM it is 0.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

PACKAGE = "_hotswap_runtime"


def load_package() -> None:
    """Makes this folder importable under a name that no function has."""
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def module(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


def main(mode: str, *arguments: str) -> None:
    load_package()
    if mode == "confined":
        limits, *command = arguments
        module("limits").apply(module("limits").parse(limits))
        os.execv(command[0], command)  # noqa: S606 - without a shell, as is wanted
    elif mode == "program":
        limits, descriptor, *command = arguments
        module("limits").apply(module("limits").parse(limits))
        module("program").run(int(descriptor), command)
    else:
        if mode == "zygote":
            channel, _, packages, bytecode, *preload = arguments
            order = module("zygote").run(int(channel), packages, bytecode, preload).order  # in a child
        else:
            order = module("order").parse(arguments[0])
        sys.argv[:] = [order.entrypoint]
        module("limits").apply(order.limits)
        module("serve").run(order)


if __name__ == "__main__":
    main(*sys.argv[1:])
