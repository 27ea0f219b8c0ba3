"""Tokens: who may call the controller."""

import click

from hotswap.auth import Role
from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options, me
from hotswap.cli.durations import DURATION
from hotswap.rpc import controller_pb2 as pb

why_option = click.option("--why", default="", help="The reason, for the audit log.")


@click.group()
def token() -> None:
    """Create, list and revoke the tokens of those who call."""


@token.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do.")
@click.option("--function", "functions", multiple=True, metavar="F", help="Only this function; may be repeated.")
@click.option("--expires", type=DURATION, metavar="DURATION", help="After this, for example 90d; else never.")
@why_option
@output.output_option
@controller_options
def create_token(
    name: str,
    *,
    role: str,
    functions: tuple[str, ...],
    expires: float | None,
    why: str,
    form: output.Format,
    target: Target,
) -> None:
    """Make a token, and print it: this once, since only a hash of it is kept.

    NAME is what the record says of who did something with it.

    \b
    hotswap token create ci --role deployer --function image-processor --expires 90d
    """
    lasts = "" if expires is None else f"PT{expires:f}S"
    request = pb.CreateTokenRequest(name=name, role=role, functions=functions, lasts=lasts, why=why)
    with target.connected() as controller:
        made = controller.CreateToken(request, timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json(output.document(made))
        return
    click.echo(made.bearer)
    told = f"token {made.token.id} of {made.token.name}: keep it now, it is not shown again"
    click.echo(f"{told}\nuse it: HOTSWAP_TOKEN=… hotswap functions", err=True)


@token.command("list")
@output.output_option
@controller_options
def list_tokens(*, form: output.Format, target: Target) -> None:
    """List the tokens by their ids, never the tokens themselves."""
    with target.connected() as controller:
        answer = controller.ListTokens(pb.ListTokensRequest(), timeout=ANSWER_LIMIT)
    output.print_messages(answer.tokens, form=form, row=_row, none="there are no tokens")


def _row(token: pb.Token) -> output.Row:
    return {
        "ID": token.id,
        "NAME": token.name,
        "ROLE": token.role,
        "FUNCTIONS": ", ".join(token.functions) or "all",
        "CREATED": output.moment(token.created),
        "BY": token.who,
        "EXPIRES": output.moment(token.expires) or "never",
    }


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@why_option
@output.output_option
@controller_options
def revoke_token(token_id: str, *, why: str, form: output.Format, target: Target) -> None:
    """Revoke the token with this ID: it stops working at once, at every controller."""
    with target.connected() as controller:
        request = pb.RevokeTokenRequest(id=token_id, why=why)
        revoked = controller.RevokeToken(request, timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json(output.document(revoked))
    else:
        click.echo(f"token {revoked.id} of {revoked.name} is revoked")


COMMANDS = (token,)
