"""The highest leader's fence that this node has seen, kept on disk: who leads no more cannot move instances."""

import os
from pathlib import Path

from hotswap.errors import NotLeader


class HighestFence:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.value = int(path.read_text()) if path.exists() else 0

    def check(self, fence: int) -> None:
        """Raises `NotLeader` for one that is lower than any before it."""
        if fence < self.value:
            raise NotLeader(
                f"the fence {fence} is lower than {self.value}, which this node has seen",
                hint="another controller leads by now",
            )
        if fence > self.value:
            self._write(fence)
            self.value = fence

    def _write(self, fence: int) -> None:
        room = self._path.with_suffix(".new")
        with room.open("w") as file:
            file.write(str(fence))
            file.flush()
            os.fsync(file.fileno())
        room.rename(self._path)
