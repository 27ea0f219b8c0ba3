"""A scratch alias with a version that fails, for a drill: made step by step, and taken away again whatever happens.

Each thing is noted before it is asked for, since an interruption may come between a request and its answer; so taking
away means to look for what may be there.
"""

import json
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import click

from hotswap import manifest
from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, me
from hotswap.cli.sending import send
from hotswap.deployment import Status
from hotswap.errors import HotswapError, NotFound, Refused, Unavailable
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc.controller_pb2_grpc import ControllerStub

WHY = "a drill"
READY_LIMIT = 120.0
"""Seconds for the version that works to take the alias."""
AWAY_LIMIT = 60.0
"""Seconds for which a thing that is still needed is tried to be taken away."""
LOOK_EVERY = 0.1
MARK = "DRILL"
"""In the environment of the version that fails: the alias that it is for."""

FAILS = """def handler(event, context):
    raise RuntimeError("this version fails on purpose, for a drill")
"""


@dataclass(frozen=True, slots=True)
class Scratch:
    """What a drill works with."""

    function: str
    alias: str
    good: int
    """The version that works."""
    bad: int


def new_alias() -> str:
    return f"drill-{secrets.token_hex(4)}"


@contextmanager
def scratch(target: Target, function: str, alias: str, *, good: int) -> Iterator[Scratch]:
    """The alias with all traffic on the good version, and a bad one that was published; gone when the context ends."""
    with ExitStack() as leftovers, interruptible():
        leftovers.callback(_take_away, target, function, alias)
        with target.connected() as controller, tempfile.TemporaryDirectory() as folder:
            bad = send(target, _write(Path(folder), controller, function, alias)).version
        with target.connected() as controller:
            request = {"functionName": function, "version": good, "alias": alias, "strategy": "AllAtOnce"}
            begun = deploy(controller, {**request, "reason": WHY})
            _until_succeeded(controller, begun.id)
        yield Scratch(function, alias, good, bad.number)


@contextmanager
def interruptible() -> Iterator[None]:
    """A request to terminate ends the context as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def deploy(controller: ControllerStub, request: dict[str, Any]) -> pb.Deployment:
    return controller.Deploy(pb.DeployRequest(request_json=json.dumps(request)), timeout=ANSWER_LIMIT, metadata=me())


def chosen(controller: ControllerStub, function: str, alias: str) -> int:
    """The version that has most of the traffic."""
    found = controller.GetAlias(pb.GetAliasRequest(function=function, name=alias), timeout=ANSWER_LIMIT)
    return max(found.weights, key=lambda version: (found.weights[version], version))


def _write(folder: Path, controller: ControllerStub, function: str, alias: str) -> Path:
    """The folder of the version that fails. What a publication says of the function it says as it is."""
    known = controller.ListFunctions(pb.ListFunctionsRequest(), timeout=ANSWER_LIMIT).functions
    description = next(it.description for it in known if it.name == function)
    versions = controller.ListVersions(pb.ListVersionsRequest(function=function), timeout=ANSWER_LIMIT).versions
    labels = json.loads(versions[-1].manifest_json)["placement"]["labels"]
    (folder / "drill.py").write_text(FAILS)
    (folder / manifest.FILE).write_text(
        f'function = "{function}"\nkind = "handler"\nentrypoint = "drill:handler"\n'
        f'description = {_text(description)}\nenv = {{ {MARK} = "{alias}" }}\n[placement.labels]\n'
        + "".join(f"{_text(name)} = {_text(value)}\n" for name, value in labels.items()),
        encoding="utf-8",
    )
    return folder


def _text(value: str) -> str:
    """In TOML, where a text in double quotes is written as in JSON, but for characters past the first plane."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _until_succeeded(controller: ControllerStub, deployment: str) -> None:
    status, reason = _ended(controller, deployment, limit=READY_LIMIT)
    if status is not Status.SUCCEEDED:
        raise Refused(
            f"the drill cannot begin: the version that works was not deployed to its alias: {status}: {reason}",
            hint=f"see `hotswap get deployment {deployment}`",
        )


def _ended(controller: ControllerStub, deployment: str, *, limit: float) -> tuple[Status, str]:
    """How it stands when it has ended, or when the time is over."""
    deadline = time.monotonic() + limit
    while True:
        found = controller.GetDeployment(pb.GetDeploymentRequest(id=deployment), timeout=ANSWER_LIMIT)
        status = Status(found.status)
        if status.terminal or time.monotonic() > deadline:
            return status, found.reason
        time.sleep(LOOK_EVERY)


def _take_away(target: Target, function: str, alias: str) -> None:
    """Everything that may be there, once whatever happens; another Ctrl-C does not end it. Tells what it must leave."""
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for what, remove in (
            ("deployments", _end_deployments),
            (f'alias "{alias}"', _remove_alias),
            ("the version that fails", _remove_version),
        ):
            try:
                _insist(partial(remove, target, function, alias))
            except HotswapError as error:
                why = output.first_line(error.message)
                click.echo(f"the drill leaves {what} of {function} behind: {why}", err=True)
    finally:
        signal.signal(signal.SIGINT, ignored)


def _insist(remove: Callable[[], None]) -> None:
    """What still needs a thing, or does not answer, may be done in a moment."""
    deadline = time.monotonic() + AWAY_LIMIT
    while True:
        try:
            return remove()
        except NotFound:
            return None
        except HotswapError:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_EVERY)


def _end_deployments(target: Target, function: str, alias: str) -> None:
    with target.connected() as controller:
        request = pb.ListDeploymentsRequest(function=function, running=True)
        for found in controller.ListDeployments(request, timeout=ANSWER_LIMIT).deployments:
            if found.alias == alias:
                with suppress(Refused):
                    controller.Abort(pb.VerbRequest(id=found.id, why=WHY), timeout=ANSWER_LIMIT, metadata=me())
                if not _ended(controller, found.id, limit=AWAY_LIMIT)[0].terminal:
                    raise Unavailable(f"deployment {found.id} does not end")


def _remove_alias(target: Target, function: str, alias: str) -> None:
    with target.connected() as controller:
        request = pb.RemoveAliasRequest(function=function, name=alias, why=WHY)
        controller.RemoveAlias(request, timeout=ANSWER_LIMIT, metadata=me())


def _remove_version(target: Target, function: str, alias: str) -> None:
    """By what it has in its manifest: nobody may have been told its number."""
    with target.connected() as controller:
        versions = controller.ListVersions(pb.ListVersionsRequest(function=function), timeout=ANSWER_LIMIT).versions
        for version in versions:
            if json.loads(version.manifest_json)["env"].get(MARK) == alias:
                request = pb.UnpublishRequest(function=function, number=version.number, why=WHY)
                controller.Unpublish(request, timeout=ANSWER_LIMIT, metadata=me())
