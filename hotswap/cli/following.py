"""Following a deployment to its end: each event as a line, and on a terminal where it stands now.

A controller that dies meanwhile is no end of the deployment: the follower finds the one that took over, and goes on
after the last event that it told.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import IntEnum

import click
from rich.live import Live
from rich.spinner import Spinner

from hotswap.cli import output
from hotswap.cli.client import Target
from hotswap.deployment import Status
from hotswap.errors import Unavailable
from hotswap.rpc import controller_pb2 as pb

ASK_AGAIN = 0.5
"""Seconds before the controller is looked for again."""

Show = Callable[[pb.DeploymentUpdate], None]


class Exit(IntEnum):
    GOOD = 0
    BACK = 1
    """Rolled back, aborted or failed."""
    TIME_OVER = 2
    NEEDS_A_PERSON = 3


def exit_code(status: Status) -> Exit:
    """What a status means to a script; a deployment that is on its way is good."""
    match status:
        case Status.QUEUED | Status.RUNNING | Status.SUCCEEDED:
            return Exit.GOOD
        case Status.PAUSED | Status.AWAITING_PROMOTION | Status.HELD | Status.FROZEN:
            return Exit.NEEDS_A_PERSON
        case Status.ROLLING_BACK | Status.ROLLED_BACK | Status.FAILED | Status.ABORTED:
            return Exit.BACK


def follow(target: Target, deployment_id: str, *, timeout: float, form: output.Format) -> Exit:
    """Tells the events until nothing will change any more without a person, or until the time is over."""
    deployment: pb.Deployment | None = None
    settled = False
    with _nothing() if form == "json" else _shown() as show:
        for update in _updates(target, deployment_id, time.monotonic() + timeout):
            deployment = update.deployment
            show(update)
            settled = _settled(deployment)
            if settled:
                break
    if deployment is None:
        click.echo(f"nothing is known of deployment {deployment_id} after {timeout:g} s", err=True)
        return Exit.TIME_OVER
    if form == "json":
        output.print_json(output.document(deployment))
    else:
        _tell_end(deployment, settled=settled, timeout=timeout)
    return exit_code(Status(deployment.status)) if settled else Exit.TIME_OVER


def _settled(deployment: pb.Deployment) -> bool:
    """It has ended, or waits for a person who has not spoken yet."""
    status = Status(deployment.status)
    waits = exit_code(status) is Exit.NEEDS_A_PERSON and not json.loads(deployment.record_json).get("asked")
    return status.terminal or waits


def _updates(target: Target, deployment_id: str, deadline: float) -> Iterator[pb.DeploymentUpdate]:
    """Whatever does not answer for a while (the controller, or etcd behind it) is asked again, and said once."""
    after, told = 0, False
    _ = target.controllers  # where no platform is known at all, there is nobody to wait for
    while (left := deadline - time.monotonic()) > 0:
        try:
            with target.connected() as controller:
                request = pb.WatchDeploymentRequest(id=deployment_id, after_event=after)
                for update in controller.WatchDeployment(request, timeout=left):
                    after, told = max([after, *(event.number for event in update.events)]), False
                    yield update
                    left = deadline - time.monotonic()
        except Unavailable as error:
            if not told and time.monotonic() < deadline:
                click.echo(f"{output.first_line(error.message)}; trying again", err=True)
            told = True
            time.sleep(max(0.0, min(ASK_AGAIN, deadline - time.monotonic())))


@contextmanager
def _nothing() -> Iterator[Show]:
    yield lambda _: None


@contextmanager
def _shown() -> Iterator[Show]:
    """Lines, and under them on a terminal what the deployment does now."""
    console = output.console()
    spinner = Spinner("dots")

    def show(update: pb.DeploymentUpdate) -> None:
        for event in update.events:
            console.print(f"{output.clock(event.at)}  {event.text}", markup=False)
        spinner.update(text=_present(update.deployment))

    with Live(spinner, console=console, transient=True) if console.is_terminal else nullcontext():
        yield show


def _present(deployment: pb.Deployment) -> str:
    step = deployment.steps[deployment.step] if deployment.step < len(deployment.steps) else ""
    until = f" (until {output.clock(deployment.step_deadline)} at the latest)" if deployment.step_deadline else ""
    return f"{deployment.status}: {step}{until}"


def _tell_end(deployment: pb.Deployment, *, settled: bool, timeout: float) -> None:
    if not settled:
        click.echo(f"deployment {deployment.id} is still {deployment.status} after {timeout:g} s; it goes on", err=True)
        click.echo(f"  follow it: hotswap get deployment {deployment.id} -w", err=True)
        return
    why = output.first_line(deployment.reason)  # the rest of it was told with the last event
    click.echo(f"deployment {deployment.id}: " + ": ".join(filter(None, [deployment.status, why])))
    for command in () if Status(deployment.status).terminal else deployment.next:
        click.echo(f"  {command}")
