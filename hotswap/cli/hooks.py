"""Hooks: where the changes of status of the deployments are delivered."""

import click

from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options, me
from hotswap.rpc import controller_pb2 as pb


@click.group()
def hook() -> None:
    """Have the changes of status of deployments delivered by webhook."""


@hook.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--function", "functions", multiple=True, help="Only of this function; may be repeated.")
@click.option("--status", "statuses", multiple=True, help="Only changes to this status; may be repeated.")
@output.output_option
@controller_options
def add_hook(
    name: str, url: str, *, functions: tuple[str, ...], statuses: tuple[str, ...], form: output.Format, target: Target
) -> None:
    """Deliver to URL from now on. Prints the secret of the signatures, which is not shown again.

    \b
    hotswap hook add team https://example.org/hotswap
    hotswap hook add pager https://example.org/page --status RolledBack --status Frozen
    """
    request = pb.AddHookRequest(name=name, url=url, functions=functions, statuses=statuses)
    with target.connected() as controller:
        added = controller.AddHook(request, timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json(output.document(added))
        return
    output.print_facts([("hook", added.name), ("secret", added.secret), ("", "keep it: it is not shown again")])


@hook.command("list")
@output.output_option
@controller_options
def list_hooks(*, form: output.Format, target: Target) -> None:
    """List the hooks, with the last delivery, what waits, and what failed."""
    with target.connected() as controller:
        found = controller.ListHooks(pb.ListHooksRequest(), timeout=ANSWER_LIMIT).hooks
    output.print_messages(found, form=form, row=_row, none="there are no hooks; hotswap hook add NAME URL")


@hook.command("undelivered")
@click.argument("name")
@output.output_option
@controller_options
def list_undelivered(name: str, *, form: output.Format, target: Target) -> None:
    """List the notices that were given up for a hook."""
    with target.connected() as controller:
        found = controller.ListUndelivered(pb.ListUndeliveredRequest(hook=name), timeout=ANSWER_LIMIT).notices
    output.print_messages(found, form=form, row=_undelivered_row, none=f"nothing was given up for {name}")


@hook.command("remove")
@click.argument("name")
@output.output_option
@controller_options
def remove_hook(name: str, *, form: output.Format, target: Target) -> None:
    """Deliver nothing to a hook any more, and forget it."""
    with target.connected() as controller:
        controller.RemoveHook(pb.RemoveHookRequest(name=name), timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json({"removed": name})
    else:
        click.echo(f"{name} is removed")


@hook.command("test")
@click.argument("name")
@output.output_option
@controller_options
def test_hook(name: str, *, form: output.Format, target: Target) -> None:
    """Deliver a test notice now, and tell what came back. Ends with 1 when it was not taken."""
    with target.connected() as controller:
        answer = controller.TestHook(pb.TestHookRequest(name=name), timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json(output.document(answer))
    else:
        click.echo(f"{'delivered' if answer.delivered else 'not delivered'}: {answer.answer}")
    if not answer.delivered:
        click.get_current_context().exit(1)


def _row(of: pb.Hook) -> output.Row:
    return {
        "HOOK": of.name,
        "URL": of.url,
        "FUNCTIONS": ", ".join(of.functions) or "all",
        "STATUSES": ", ".join(of.statuses) or "all",
        "LAST DELIVERY": output.moment(of.last_delivery) or "-",
        "PENDING": str(of.pending),
        "FAILURES": str(of.failures),
        "UNDELIVERED": str(of.undelivered),
        "STATE": _state(of),
    }


def _state(of: pb.Hook) -> str:
    if of.disabled:
        return f"disabled: {of.disabled}"
    return f"failing: {of.error}" if of.failures else "enabled"


def _undelivered_row(of: pb.UndeliveredNotice) -> output.Row:
    return {
        "NOTICE": of.id,
        "FUNCTION": f"{of.function}:{of.alias}",
        "VERSION": str(of.version),
        "STATUS": of.status,
        "AT": output.moment(of.at),
        "GIVEN UP": output.moment(of.given_up),
        "ERROR": of.error,
    }


COMMANDS = (hook,)
