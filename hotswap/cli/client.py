"""The controller, as the commands call it: found, called, and its refusals raised as the errors they are."""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import click
import grpc

from hotswap import auth
from hotswap.cli import reaching, running
from hotswap.credentials import ADMIN_FILE, kept
from hotswap.errors import Unavailable
from hotswap.rpc import wire
from hotswap.rpc.callers import WHO, Metadata
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from hotswap.rpc.showing import Showing
from hotswap.settings import host_and_port

ANSWER_LIMIT = 20.0
"""Seconds for an answer of the controller's."""


def me() -> Metadata:
    """Metadata for calls that change something."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a process without a name for its user
        user = str(os.getuid())
    return ((WHO, user.encode("ascii", "replace").decode()),)


@dataclass(frozen=True, slots=True)
class Target:
    """The platform that is meant, and as whom it is called, by what the user said of it."""

    state_dir: Path
    given: str | None = None
    """`host:port` of a controller, or of several between commas."""
    given_token: str | None = field(default=None, repr=False)

    @property
    def controllers(self) -> list[str]:
        """Any of them will do; the first that answers is called."""
        addresses = self.given.split(",") if self.given else [self._running().controller]
        for address in addresses:
            host_and_port(address, option="--controller")
        return addresses

    @property
    def router(self) -> str:
        return self._running().router

    @property
    def token(self) -> str:
        """The admin's of the platform in the state directory where nothing else is given; shown to that one only."""
        if self.given_token:
            return auth.parse(self.given_token.strip()).text
        found = running.read(self.state_dir)
        file = self.state_dir / ADMIN_FILE
        if not found or (self.given and self.given != found.controller) or not os.access(file, os.R_OK):
            return ""
        return kept(file).text

    def _running(self) -> running.Running:
        found = running.read(self.state_dir)
        if found and found.controller:
            return found
        raise Unavailable(
            f"no platform is running in {self.state_dir}",
            hint="start one: hotswap up   or say where it is: HOTSWAP_STATE_DIR=FOLDER, or --controller HOST:PORT",
        )

    @contextmanager
    def connected(self) -> Iterator[ControllerStub]:
        """Raises what the controller raised; `Unavailable` when it is not there."""
        with ExitStack() as stack:
            channels = {it: stack.enter_context(wire.blocking_channel(it)) for it in self.controllers}
            address = reaching.first(channels)
            if address is None:
                raise Unavailable(f"no controller answers at {', '.join(channels)}", hint="start it: hotswap up")
            with wire.calling(f"the controller at {address}"):
                yield ControllerStub(grpc.intercept_channel(channels[address], Showing(self.token)))


def controller_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--controller`, `--token` and `--state-dir`, which reach it as `target`."""

    @click.option(
        "--controller",
        metavar="HOST:PORT,…",
        envvar="HOTSWAP_CONTROLLER",
        show_envvar=True,
        help="A controller, or several, of which one has to answer; else the one that `hotswap up` started.",
    )
    @click.option(
        "--token",
        metavar="TOKEN",
        envvar="HOTSWAP_TOKEN",
        show_envvar=True,
        help="As whom; else the admin of what `hotswap up` started. Better in the environment, which is not listed.",
    )
    @running.state_dir_option
    @wraps(command)
    def run(*arguments: Any, controller: str | None, token: str | None, state_dir: Path, **options: Any) -> None:
        command(*arguments, target=Target(state_dir, controller, token), **options)

    return run
