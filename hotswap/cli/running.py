"""What runs here: the file that `hotswap up` keeps in its state directory, by which every other command finds it."""

import os
from pathlib import Path
from typing import Self

import click
import msgspec

from hotswap.model import Model

FILE = "platform.json"


def default_state_dir() -> Path:
    return Path.home() / ".local" / "state" / "hotswap"


state_dir_option = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="HOTSWAP_STATE_DIR",
    default=default_state_dir,
    show_default="~/.local/state/hotswap",
    show_envvar=True,
    help="Where `hotswap up` keeps everything.",
)


class Process(Model, frozen=True, kw_only=True):
    """A process by more than its id, which is given again: by when it was started too."""

    pid: int
    started: int
    """Clock ticks from the boot of the machine."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """`None` when there is no such process, or only what is left of it."""
        try:
            told = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = told.rpartition(")")[2].split()  # the name before it may hold anything
        if fields[0] in "ZX":
            return None
        return cls(pid=pid, started=int(fields[19]), boot=_boot())

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Running(Model, frozen=True, kw_only=True):
    """Addresses are `host:port`, empty until they are known."""

    etcd: str = ""
    controller: str = ""
    rest: str = ""
    router: str = ""
    admin: str = ""
    processes: dict[str, Process] = {}
    """Every process of the platform by its name, but not the instances: those are their agent's."""


def read(state_dir: Path) -> Running | None:
    """`None` when no platform was left running there."""
    try:
        return msgspec.json.decode((state_dir / FILE).read_bytes(), type=Running)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def write(state_dir: Path, running: Running) -> None:
    """The file is always whole, also when this process is killed meanwhile."""
    new = state_dir / f".{FILE}.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(running), indent=2))
    os.replace(new, state_dir / FILE)


def forget(state_dir: Path) -> None:
    (state_dir / FILE).unlink(missing_ok=True)
