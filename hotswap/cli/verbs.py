"""What may be asked of a deployment that runs, and of an alias or a version because of one."""

from collections.abc import Callable
from typing import Any

import click

from hotswap import model
from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options, me
from hotswap.cli.completion import function_argument, qualified_argument
from hotswap.deployment import Verb
from hotswap.rpc import controller_pb2 as pb

ASKED = {
    Verb.ROLLBACK: "roll back",
    Verb.ABORT: "abort",
    Verb.PROMOTE: "go on",
    Verb.PAUSE: "stand still",
    Verb.RESUME: "resume",
    Verb.RETRY: "try again",
}

id_argument = click.argument("deployment_id", metavar="ID")
why_option = click.option("--why", default="", help="The reason, for the record.")
OPTIONS: dict[Verb, list[Callable[[Any], Any]]] = {
    Verb.PROMOTE: [
        click.option("--full", is_flag=True, help="Past every phase and test that is left."),
        click.option("--winner", type=click.IntRange(min=1), metavar="VERSION", help="The version that wins the test."),
    ],
    Verb.RESUME: [
        click.option("--adopt", is_flag=True, help="Go on with the weights that somebody else gave the alias."),
    ],
    Verb.RETRY: [
        click.option("--from-step", "step", type=click.IntRange(min=1), help="The step to begin at, counted from 1."),
        click.option("--force", is_flag=True, help="Though the version is in quarantine."),
    ],
}
HELP = {
    Verb.ROLLBACK: "Take the alias back to the version before the deployment.",
    Verb.ABORT: "End the deployment and take back what it did.",
    Verb.PROMOTE: """Let a deployment go on past what it waits for.

    That is a hold, the rest of a phase, or the end of a test, whose winner is named.

    \b
    hotswap promote d-1a2b3c4d
    hotswap promote d-1a2b3c4d --full
    hotswap promote d-1a2b3c4d --winner 2 --why "v2 converts better"
    """,
    Verb.PAUSE: """Have a deployment stand still.

    Its traffic stays as it is, and is judged. After a day it goes back by itself.
    """,
    Verb.RESUME: """Let a deployment go on that is paused or held.

    Where somebody else changed the alias, its own weights are given again, unless --adopt takes those that it has.
    """,
    Verb.RETRY: "Try a deployment again that failed, was taken back or is held.",
}


def _verb(verb: Verb) -> click.Command:
    def ask(
        deployment_id: str, *, why: str, form: output.Format, target: Target, winner: int | None = None,
        step: int | None = None, **flags: bool
    ) -> None:  # fmt: skip
        request = pb.VerbRequest(id=deployment_id, why=why, winner=winner or 0, step=step or 0, **flags)
        with target.connected() as controller:
            call = getattr(controller, verb.name.capitalize())
            deployment = call(request, timeout=ANSWER_LIMIT, metadata=me())
        if form == "json":
            output.print_json(output.document(deployment))
        elif deployment.id != deployment_id:
            _begun(deployment)
        else:
            click.echo(f"asked deployment {deployment.id} to {ASKED[verb]}; it is {deployment.status}")
            click.echo(f"follow it: hotswap get deployment {deployment.id} -w")

    for option in (*OPTIONS.get(verb, []), controller_options, output.output_option, why_option, id_argument):
        ask = option(ask)
    return click.command(verb.value, help=HELP[verb])(ask)


@click.command()
@qualified_argument
@click.option("--to-version", type=click.IntRange(min=1), help="By default the version before the present one.")
@why_option
@output.output_option
@controller_options
def undo(function: str, *, to_version: int | None, why: str, form: output.Format, target: Target) -> None:
    """Give FUNCTION:ALIAS to an earlier version, all at once."""
    name, alias = model.qualifier(function)
    request = pb.UndoRequest(function=name, alias=model.check_alias_name(alias), to_version=to_version or 0, why=why)
    with target.connected() as controller:
        deployment = controller.Undo(request, timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json(output.document(deployment))
    else:
        _begun(deployment)


def _begun(deployment: pb.Deployment) -> None:
    click.echo(f"deployment {deployment.id} of {deployment.function} version {deployment.version} has begun")
    click.echo(f"follow it: hotswap get deployment {deployment.id} -w")


@click.group()
def quarantine() -> None:
    """Versions that failed, and are not deployed again without --force."""


@quarantine.command("list")
@click.option("--function", default="", help="Only those of this function.")
@output.output_option
@controller_options
def list_quarantine(*, function: str, form: output.Format, target: Target) -> None:
    """List the versions that failed."""
    with target.connected() as controller:
        answer = controller.ListQuarantine(pb.ListQuarantineRequest(function=function), timeout=ANSWER_LIMIT)
    output.print_messages(answer.versions, form=form, row=_row, none="no version is in quarantine")


@quarantine.command("release")
@function_argument
@click.argument("version", type=click.IntRange(min=1))
@output.output_option
@controller_options
def release(function: str, version: int, *, form: output.Format, target: Target) -> None:
    """Let VERSION of FUNCTION be deployed again."""
    request = pb.ReleaseRequest(function=function, version=version)
    with target.connected() as controller:
        released = controller.Release(request, timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json(output.document(released))
    else:
        click.echo(f"version {version} of {function} may be deployed again")


def _row(entry: pb.QuarantinedVersion) -> output.Row:
    return {
        "FUNCTION": entry.function,
        "VERSION": str(entry.version),
        "SINCE": output.moment(entry.at),
        "DEPLOYMENT": entry.deployment,
        "WHY": output.first_line(entry.why),
    }


COMMANDS = (*(_verb(verb) for verb in Verb), undo, quarantine)
