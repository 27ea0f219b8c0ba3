"""The same function for each that is compared: it answers with what it was given."""

import importlib.util
import shutil
from pathlib import Path

LAMBDA = "def handler(event, context):\n    return event\n"
HEAVY = "import numpy\ndef handler(event, context):\n    return {} if numpy.zeros(1)[0] == 0 else None\n"
FRAMEWORK = "def handler(request):\n    return request.get_json()\n"


def write(folder: Path, code: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(code)
    return folder


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def vendor(package: str, folder: Path) -> None:
    """A package that is installed here, with its libraries."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent
    for one in (source, source.with_name(f"{package}.libs")):
        if one.exists():
            shutil.copytree(one, folder / one.name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
