"""The controller, as the commands call it: found, called, and its refusals raised as the errors they are."""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click
import grpc

from hotswap.cli import running
from hotswap.errors import Unavailable
from hotswap.rpc import wire
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from hotswap.settings import host_and_port

ANSWER_LIMIT = 20.0
"""Seconds for an answer of the controller's."""
CONNECT_LIMIT = 5.0
"""Seconds until a controller must be reached."""


def me() -> tuple[tuple[str, str], ...]:
    """Metadata for calls that change something."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a process without a name for its user
        user = str(os.getuid())
    return ((wire.WHO, user.encode("ascii", "replace").decode()),)


@dataclass(frozen=True, slots=True)
class Target:
    """The platform that is meant, by what the user said of it."""

    state_dir: Path
    given: str | None = None
    """`host:port` of a controller."""

    @property
    def controller(self) -> str:
        if self.given:
            host_and_port(self.given, option="--controller")
            return self.given
        return self._running().controller

    @property
    def router(self) -> str:
        return self._running().router

    def _running(self) -> running.Running:
        found = running.read(self.state_dir)
        if found and found.controller:
            return found
        raise Unavailable(
            f"no platform is running in {self.state_dir}",
            hint="start one: hotswap up   or name a controller: --controller HOST:PORT",
        )

    @contextmanager
    def connected(self) -> Iterator[ControllerStub]:
        """Raises what the controller raised; `Unavailable` when it is not there."""
        address = self.controller
        with wire.calling(f"the controller at {address}"), wire.blocking_channel(address) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=CONNECT_LIMIT)
            except grpc.FutureTimeoutError:
                raise Unavailable(f"no controller answers at {address}", hint="start it: hotswap up") from None
            yield ControllerStub(channel)


def controller_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--controller` and `--state-dir`, which reach it as `target`."""

    @click.option(
        "--controller",
        metavar="HOST:PORT",
        envvar="HOTSWAP_CONTROLLER",
        show_envvar=True,
        help="A controller; else the one that `hotswap up` started.",
    )
    @running.state_dir_option
    @wraps(command)
    def run(*arguments: Any, controller: str | None, state_dir: Path, **options: Any) -> None:
        command(*arguments, target=Target(state_dir, controller), **options)

    return run
