"""Which versions have been ready on this node, kept on its disk: an agent that takes over need not start what sleeps.

A version that comes to a node proves once that it starts; what sleeps from then on is trusted to.
"""

from pathlib import Path


class Proven:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, function: str, version: int) -> bool:
        return self._path(function, version).exists()

    def add(self, function: str, version: int) -> None:
        self._path(function, version).touch()

    def remove(self, function: str, version: int) -> None:
        """It is taken from the node, and has to prove it again if it comes back."""
        self._path(function, version).unlink(missing_ok=True)

    def _path(self, function: str, version: int) -> Path:
        return self._folder / f"{function}.{version}"
