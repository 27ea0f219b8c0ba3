"""What of a function's folder is not part of it: what tools leave there, and what its `.hotswapignore` names.

A line is a pattern as the shell has them: one without a slash holds for names at any depth, one with a slash for paths
from the folder on. A pattern that holds for a folder holds for all that is in it. Empty lines and those with `#` say
nothing.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from hotswap.errors import Invalid

FILE = ".hotswapignore"
ALWAYS = (
    ".git", ".hg", ".svn", ".hotswap", ".venv", "venv", "__pycache__", "*.pyc", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".tox", ".nox", ".idea", ".vscode", ".DS_Store", FILE,
)  # fmt: skip
"""Names, at any depth."""

Ignored = Callable[[PurePosixPath], bool]
"""Whether a path, relative to the folder, is left out."""


def read(folder: Path) -> Ignored:
    """By what the folder says; raises `Invalid`."""
    path = folder / FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}") from None
    patterns = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for pattern in patterns:
        if pattern.startswith("!"):
            raise Invalid(f'{path}: "{pattern}" takes something back, which is not understood', hint="name what goes")
    names = [pattern.rstrip("/") for pattern in patterns if "/" not in pattern.rstrip("/")]
    paths = [pattern.strip("/") for pattern in patterns if "/" in pattern.rstrip("/")]
    return lambda it: _any(it.name, [*ALWAYS, *names]) or _any(it.as_posix(), paths)


def _any(text: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)
