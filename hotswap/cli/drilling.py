"""`hotswap drill`: proves on a scratch alias that a version which fails is taken back, and how fast."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import grpc
import msgspec

from hotswap import model
from hotswap.cli import output, requests
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options
from hotswap.cli.completion import complete_names
from hotswap.cli.invocation import ask, event
from hotswap.cli.scratch import READY_LIMIT, WHY, Scratch, chosen, deploy, new_alias, scratch
from hotswap.cli.volley import Shot, Volley
from hotswap.deployment import Status
from hotswap.errors import Invalid
from hotswap.judge.verdict import Outcome
from hotswap.rpc import controller_pb2 as pb

CONFIG: dict[str, Any] = {"canaryIncrements": [10], "canaryDuration": "PT10M"}
"""What is not said otherwise."""
INVOKE_LIMIT = 10.0
"""Seconds for the answer to one invocation."""
FAILS_TOO = "not only the bad version failed, so this is no proof: give an event that the other answers, by --data"
QUIET = 2.0
"""Seconds for which no invocation reaches the bad version any more, before the drill is over."""


class Drilled(model.Model, frozen=True, kw_only=True):
    """What `hotswap drill -o json` prints."""

    function: str
    alias: str
    good: int
    bad: int
    fired: bool
    reason: str
    """Why the deployment ended, or how it stands."""
    invocations: int
    failed: int
    """Of the bad version."""
    failed_otherwise: int
    """Of the good one, or of nobody."""
    verdict_after: float | None = None
    """Milliseconds from the first bad answer until the verdict was told."""
    last_pick_after: float | None = None
    """Milliseconds from the first bad answer until the last invocation was sent that reached the bad version."""


@click.command(short_help="Prove that a version which fails is rolled back.")
@click.argument("function", shell_complete=complete_names)
@click.option("--version", type=click.IntRange(min=1), help="The version that works.  [default: production's]")
@click.option("--data", metavar="TEXT|@FILE|-", help="The event.  [default: the version's sample payload]")
@click.option("--config", metavar="FILE|-", help="JSON: the configuration of the canary, with your limits.")
@click.option("--rps", type=click.FloatRange(0, 1000, min_open=True), default=20, show_default=True, help="How fast.")
@click.option("--most", type=click.IntRange(min=1), default=600, show_default=True, help="Invocations, at most.")
@click.option("--router", metavar="HOST:PORT", envvar="HOTSWAP_ROUTER", show_envvar=True, help="The router to call.")
@output.output_option
@controller_options
def drill(
    function: str,
    *,
    version: int | None,
    data: str | None,
    config: str | None,
    rps: float,
    most: int,
    router: str | None,
    form: output.Format,
    target: Target,
) -> None:
    """Prove that a version of FUNCTION which fails is rolled back, and say how fast.

    A version that always fails is published, and deployed as a canary to an alias made for this. Both get real
    invocations, so the version that works does its work with the event that they carry. Nothing of it is left when the
    command ends, by Ctrl-C too. Exit code 1 if the rollback did not fire.

    \b
    hotswap drill image-processor
    hotswap drill image-processor --data @event.json --config limits.json
    """
    model.check_function_name(function)
    given = requests.read(config) if config else {}
    with target.connected() as controller:
        good = version or chosen(controller, function, model.DEFAULT_ALIAS)
        found = controller.GetVersion(pb.GetVersionRequest(function=function, number=good), timeout=ANSWER_LIMIT)
    body, address, alias = _body(data, found), router or target.router, new_alias()
    with scratch(target, function, alias, good=good) as made:
        volley = Volley(lambda: ask(address, function, alias, body, limit=INVOKE_LIMIT), rate=rps, most=most)
        drilled = _run(target, made, {**CONFIG, **given}, volley)
    if form == "json":
        output.print_json(msgspec.to_builtins(drilled))
    else:
        output.print_facts(_facts(drilled))
    if not drilled.fired:
        raise click.exceptions.Exit(1)


def _body(data: str | None, version: pb.Version) -> bytes:
    if data is not None:
        return event(data)
    manifest = model.decode(version.manifest_json, model.Manifest, where=f"version {version.number}")
    if manifest.sample_payload is msgspec.UNSET:
        raise Invalid(
            f"version {version.number} of {version.function} has no sample payload to invoke it with",
            hint="give an event that does no harm: --data '{}'",
        )
    return bytes(manifest.sample_payload)


class _Watched:
    """What is told of the deployment meanwhile."""

    def __init__(self) -> None:
        self.moved = threading.Event()
        """It has given out traffic, or has ended without."""
        self.verdict: float | None = None
        """When a failure was heard of; monotonic seconds."""
        self.status = Status.RUNNING
        self.reason = ""

    def hear(self, update: pb.DeploymentUpdate) -> None:
        self.status, self.reason = Status(update.deployment.status), update.deployment.reason
        failed = any(it.kind == "verdict" and it.text.startswith(Outcome.FAIL) for it in update.events)
        if failed and self.verdict is None:
            self.verdict = time.monotonic()
        if self.status.terminal or any(it.kind == "weights" for it in update.events):
            self.moved.set()


@contextmanager
def _watching(target: Target, deployment: str) -> Iterator[_Watched]:
    watched = _Watched()
    with target.connected() as controller:
        call: Any = controller.WatchDeployment(pb.WatchDeploymentRequest(id=deployment))

        def watch() -> None:
            try:
                for update in call:
                    watched.hear(update)
            except grpc.RpcError as error:
                if not call.cancelled():
                    watched.reason = f"the controller does not tell any more: {error}"
            finally:
                watched.moved.set()

        thread = threading.Thread(target=watch, name=f"watch {deployment}", daemon=True)
        thread.start()
        try:
            yield watched
        finally:
            call.cancel()
            thread.join()


def _run(target: Target, made: Scratch, config: dict[str, Any], volley: Volley) -> Drilled:
    asked = requests.Asked(made.function, made.bad, strategy="Canary", alias=made.alias, why=WHY)
    request = msgspec.json.decode(requests.build(asked, {"strategy": "Canary", "config": config}))
    with target.connected() as controller:
        begun = deploy(controller, request)
    with _watching(target, begun.id) as watched:

        def enough() -> bool:
            last = max((shot.sent for shot in _of(volley.shots, made.bad)), default=0.0)
            return watched.status.terminal and time.monotonic() > last + QUIET

        watched.moved.wait(READY_LIMIT)
        volley.fire(enough)
    return _drilled(made, watched, volley.shots)


def _of(shots: list[Shot], version: int) -> list[Shot]:
    return [shot for shot in shots if shot.version == version]


def _drilled(made: Scratch, watched: _Watched, shots: list[Shot]) -> Drilled:
    bad = _of(shots, made.bad)
    first = min((shot.answered for shot in bad if shot.failed), default=None)
    return Drilled(
        function=made.function,
        alias=made.alias,
        good=made.good,
        bad=made.bad,
        fired=watched.verdict is not None and watched.status is Status.ROLLED_BACK,
        reason=watched.reason or f"it is {watched.status}",
        invocations=len(shots),
        failed=sum(shot.failed for shot in bad),
        failed_otherwise=sum(shot.failed for shot in shots if shot.version != made.bad),
        verdict_after=_milliseconds(first, watched.verdict),
        last_pick_after=_milliseconds(first, max((shot.sent for shot in bad), default=None)),
    )


def _milliseconds(begin: float | None, end: float | None) -> float | None:
    """Not below 0: the last pick may have been sent before the first of them was answered."""
    return None if begin is None or end is None else round(max(0.0, end - begin) * 1000, 1)


def _facts(drilled: Drilled) -> list[tuple[str, str]]:
    what = f"version {drilled.bad} of {drilled.function}, which always fails, beside version {drilled.good}"
    others = f"; {drilled.failed_otherwise} failed otherwise" if drilled.failed_otherwise else ""
    return [
        ("drill", f"{what} on alias {drilled.alias}"),
        ("rollback", f"fired: {drilled.reason}" if drilled.fired else f"did not fire: {drilled.reason}"),
        ("failed", f"{drilled.failed} of {drilled.invocations} invocations met it and failed{others}"),
        ("verdict", _after(drilled.verdict_after)),
        ("last pick", _after(drilled.last_pick_after)),
        ("but", FAILS_TOO if drilled.failed_otherwise else ""),
    ]


def _after(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.0f} ms after the first bad answer"


COMMANDS = (drill,)
