"""Completion in the shell: of commands and options by click, of names of functions by the platform, if it is there."""

import click
from click.shell_completion import CompletionItem, get_completion_class

from hotswap.cli import running
from hotswap.cli.client import Target
from hotswap.rpc import controller_pb2 as pb

NAMES_LIMIT = 1.0
"""Seconds that somebody who pressed the tabulator will wait."""
INSTALL = {
    "bash": 'add to ~/.bashrc:  eval "$(hotswap completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(hotswap completion zsh)"',
    "fish": "write to ~/.config/fish/completions/hotswap.fish:  hotswap completion fish",
}


def complete_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completion must never fail: without an answer there is nothing to complete."""
    try:
        with _target(context).connected() as controller:
            answer = controller.ListFunctions(pb.ListFunctionsRequest(), timeout=NAMES_LIMIT)
    except Exception:
        return []
    return [CompletionItem(it.name, help=it.description) for it in answer.functions if it.name.startswith(incomplete)]


def _target(context: click.Context) -> Target:
    given = context.params
    return Target(given.get("state_dir") or running.default_state_dir(), given.get("controller"), given.get("token"))


function_argument = click.argument("function", shell_complete=complete_names)
qualified_argument = click.argument("function", metavar="FUNCTION[:QUALIFIER]", shell_complete=complete_names)


@click.command(epilog="  ".join(f"{shell}: {how}." for shell, how in INSTALL.items()))
@click.argument("shell", type=click.Choice(list(INSTALL)))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete.

    It completes commands, their options, and the names of functions.
    """
    root = click.get_current_context().find_root()
    made = get_completion_class(shell)
    assert made, "every choice is a shell that click knows"
    click.echo(made(root.command, {}, "hotswap", "_HOTSWAP_COMPLETE").source())


COMMANDS = (completion,)
