"""The group of all commands, and the one place where an error becomes a message and an exit code."""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from importlib import import_module
from typing import Any

import click

from hotswap.cli import services
from hotswap.errors import HotswapError, Invalid


class Exit(IntEnum):
    """What the commands end with, beside what `following.Exit` says of a deployment."""

    FAILED = 1
    USAGE = 64
    INTERRUPTED = 130


FAMILIES = (
    "up",
    "functions",
    "figures",
    "logs",
    "invocation",
    "deployments",
    "comparing",
    "receipts",
    "replaying",
    "recommend",
    "planning",
    "drilling",
    "verbs",
    "aliases",
    "hooks",
    "tokens",
    "completion",
)
"""Modules beside this one, each with its `COMMANDS`."""


class Cli(click.Group):
    """Maps errors to messages and exit codes; nothing that goes wrong shows a traceback.

    All but the services are imported when one of them is asked for: a service needs none of them, and they are a
    quarter of what it would import.
    """

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.commands:
            self._complete()
        return super().get_command(context, name)

    def list_commands(self, context: click.Context) -> list[str]:
        self._complete()
        return super().list_commands(context)

    def _complete(self) -> None:
        for family in FAMILIES:
            for command in import_module(f"hotswap.cli.{family}").COMMANDS:
                self.add_command(command)

    def main(self, *args: Any, **options: Any) -> Any:
        options["standalone_mode"] = False
        sys.exit(_code(lambda: super(Cli, self).main(*args, **options)))


def _code(run: Callable[[], Any]) -> int:
    try:
        code = run()
    except click.UsageError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.FAILED
    except HotswapError as error:
        _tell(error)
        return Exit.USAGE if isinstance(error, Invalid) else Exit.FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except OSError as error:
        return _failed(error)
    except Exception as error:  # the last resort: what is not foreseen is told in a sentence too
        return _fault(error)
    return code if isinstance(code, int) else 0


def _tell(error: HotswapError) -> None:
    click.echo(f"error: {error.message}", err=True)
    for line in error.hint.splitlines():
        click.echo(f"  {line}", err=True)


def _failed(error: OSError) -> int:
    if error.errno == errno.EPIPE:  # the reader of our output has gone: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        click.echo(f"error: {error.filename or ''}: {error.strerror or error}".replace(": :", ":"), err=True)
    return Exit.FAILED


def _fault(error: Exception) -> int:
    click.echo(f"error: hotswap has a fault of its own: {type(error).__name__}: {error}", err=True)
    click.echo("  please report it, with what HOTSWAP_DEBUG=1 shows", err=True)
    if os.environ.get("HOTSWAP_DEBUG"):
        traceback.print_exception(error)
    return Exit.FAILED


@click.group(
    cls=Cli,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "auto_envvar_prefix": "HOTSWAP"},
)
@click.version_option(package_name="hotswap")
def cli() -> None:
    """HotSwap runs functions and rolls out their new versions safely.

    \b
    hotswap up                                        run the platform on this machine
    hotswap publish examples/image-processor/v1       publish a version of a function
    hotswap deploy image-processor 1 --strategy all-at-once --wait
    hotswap invoke image-processor --data '{}'
    """


for service in services.COMMANDS:
    cli.add_command(service)
main = cli
