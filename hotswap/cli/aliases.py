"""Aliases: the weights that they carry, read and set by hand; and aliases that nobody needs any more."""

import click

from hotswap import model
from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options, me
from hotswap.cli.completion import qualified_argument
from hotswap.cli.verbs import why_option
from hotswap.errors import Invalid
from hotswap.rpc import controller_pb2 as pb


@click.group()
def alias() -> None:
    """Read and set the weights of aliases, and remove them."""


@alias.command("get")
@qualified_argument
@output.output_option
@controller_options
def get_alias(function: str, *, form: output.Format, target: Target) -> None:
    """Show the weights of FUNCTION:ALIAS, and who set them when and why."""
    name, chosen = _alias_of(function)
    with target.connected() as controller:
        found = controller.GetAlias(pb.GetAliasRequest(function=name, name=chosen), timeout=ANSWER_LIMIT)
    _tell(found, form)


@alias.command("set")
@qualified_argument
@click.argument("weights", metavar="VERSION=WEIGHT[,…]")
@why_option
@click.option("--override", is_flag=True, help="Though a deployment runs on the alias, which then stands still.")
@output.output_option
@controller_options
def set_alias(function: str, weights: str, *, why: str, override: bool, form: output.Format, target: Target) -> None:
    """Give FUNCTION:ALIAS these weights at once; they must add up to 100.

    \b
    hotswap alias set image-processor:production 5=90,6=10
    hotswap alias set image-processor:staging 6=100 --why "ready to look at"
    """
    name, chosen = _alias_of(function)
    given = parse_weights(weights, where=f'alias "{chosen}" of "{name}"')
    with target.connected() as controller:
        request = pb.SetAliasRequest(function=name, name=chosen, weights=given, why=why, override=override)
        _tell(controller.SetAlias(request, timeout=ANSWER_LIMIT, metadata=me()), form)


@alias.command("remove")
@qualified_argument
@why_option
@output.output_option
@controller_options
def remove(function: str, *, why: str, form: output.Format, target: Target) -> None:
    """Take an alias away, with what runs for it alone. The default alias stays.

    \b
    hotswap alias remove image-processor:staging
    """
    name, chosen = _alias_of(function)
    with target.connected() as controller:
        request = pb.RemoveAliasRequest(function=name, name=chosen, why=why)
        removed = controller.RemoveAlias(request, timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json(output.document(removed))
    else:
        click.echo(f'alias "{chosen}" of "{name}" is gone; it had {output.weights(removed.weights)}')


def _alias_of(text: str) -> tuple[str, str]:
    name, chosen = model.qualifier(text)
    return name, model.check_alias_name(chosen)


def parse_weights(text: str, *, where: str) -> model.Weights:
    """`5=90,6=10`; raises `Invalid` for what is no weights, and for weights that do not add up."""
    given: model.Weights = {}
    for part in text.split(","):
        version, equals, weight = part.strip().partition("=")
        if not equals or not version.isdecimal() or not weight.isdecimal():
            raise Invalid(f'"{part.strip()}" is not VERSION=WEIGHT', hint="for example 5=90,6=10")
        if int(version) in given:
            raise Invalid(
                f"version {version} is named twice", hint="give each version one weight, for example 5=90,6=10"
            )
        given[int(version)] = int(weight)
    return model.check_weights(given, where=where)


def _tell(alias: pb.Alias, form: output.Format) -> None:
    if form == "json":
        output.print_json(output.document(alias))
        return
    facts = [
        ("alias", f"{alias.function}:{alias.name}"),
        ("weights", output.weights(alias.weights)),
        ("last good", str(alias.last_good or "")),
        ("without", "; ".join(f"version {it.version} not on {' and '.join(it.nodes)}" for it in alias.without)),
        ("set by", alias.owner and f"deployment {alias.owner}"),
    ]
    for index, change in enumerate(reversed(alias.history)):
        told = [output.moment(change.at), output.weights(change.weights), change.who, change.why]
        facts.append(("" if index else "history", "  ".join(filter(None, told))))
    output.print_facts(facts)


COMMANDS = (alias,)
