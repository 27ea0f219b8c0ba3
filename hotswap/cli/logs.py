"""What the instances of a function printed."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options
from hotswap.cli.completion import qualified_argument
from hotswap.cli.durations import DURATION
from hotswap.errors import Unavailable
from hotswap.model import check_function_name
from hotswap.rpc import controller_pb2 as pb

ASK_AGAIN = 0.5
"""Seconds before the controller is looked for again."""
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
DAY = 24 * 60 * 60
COLOURS = ("cyan", "green", "yellow", "magenta", "blue")
"""Of versions, in turn."""


@click.command(short_help="Show what a function printed.")
@qualified_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--since", type=DURATION, help="Nothing older than this: 10m, 2h.")
@click.option(
    "--tail",
    type=click.IntRange(0, 10_000),
    default=200,
    show_default=True,
    help="The last so many lines of what is kept.",
)
@click.option("--request", default="", metavar="ID", help="Only what this invocation printed (Hotswap-Request-Id).")
@output.output_option
@controller_options
def logs(
    function: str, *, follow: bool, since: float | None, tail: int, request: str, form: output.Format, target: Target
) -> None:
    """Show what the instances of FUNCTION printed, on all nodes: of all versions, of one, or of those of an alias.

    A line has its time, version, instance, and the invocation that printed it, where the function is a handler or a
    web application. What the platform tells of an instance, as how it ended, stands among what that printed. With
    -o json each line is a document of its own.

    \b
    hotswap logs image-processor -f
    hotswap logs image-processor:production --since 10m
    hotswap logs image-processor:6 --request 2f6b0c…
    """
    name, _, qualifier = function.partition(":")
    began = "" if since is None else datetime.fromtimestamp(time.time() - since, UTC).isoformat()
    wanted = pb.ReadLogsRequest(
        function=check_function_name(name), qualifier=qualifier, tail=tail, follow=follow, since=began, request=request
    )
    nothing = True
    for entry in _entries(target, wanted):
        nothing = False
        if entry.missing:
            click.echo(f"not in it: {entry.missing}", err=True)
        else:
            click.echo(json.dumps(output.document(entry)) if form == "json" else line(entry))
    if nothing and not follow:
        click.echo(f"nothing that {function} printed and that fits is kept", err=True)


def _entries(target: Target, wanted: pb.ReadLogsRequest) -> Iterator[pb.LogEntry]:
    """A follower whose controller goes away asks the one that took over, from the last line on."""
    told = False
    _ = target.controllers  # where no platform is known at all, there is nobody to wait for
    while True:
        try:
            with target.connected() as controller:
                for entry in controller.ReadLogs(wanted, timeout=DAY if wanted.follow else ANSWER_LIMIT):
                    told = False
                    yield entry
                    if entry.at:
                        wanted.since = _just_after(entry.at)
            if not wanted.follow:
                return
        except Unavailable as error:
            if not wanted.follow:
                raise
            if not told:
                click.echo(f"{output.first_line(error.message)}; trying again", err=True)
            told = True
            time.sleep(ASK_AGAIN)


def _just_after(at: str) -> str:
    return datetime.fromtimestamp(datetime.fromisoformat(at).timestamp() + 0.001, UTC).isoformat()


def line(entry: pb.LogEntry) -> str:
    """Coloured; click takes the colours off where nobody sees them."""
    stamp = datetime.fromisoformat(entry.at).astimezone()
    today = stamp.date() == datetime.now().astimezone().date()
    when = stamp.strftime("%H:%M:%S.%f" if today else "%Y-%m-%d %H:%M:%S.%f")[:-3]
    parts = [
        click.style(when, dim=True),
        click.style(f"v{entry.version}", fg=COLOURS[entry.version % len(COLOURS)]),
        click.style(entry.instance.rpartition("-")[2], dim=True),
    ]
    if entry.platform:
        return "  ".join([*parts, click.style(f"hotswap: {entry.text}", fg="red", bold=True)])
    return "  ".join([*parts, click.style(entry.request or "-", dim=True), CONTROL.sub(_shown, entry.text)])


def _shown(control: re.Match[str]) -> str:
    """What a function prints is not to command the terminal."""
    return f"\\x{ord(control.group()):02x}"


COMMANDS = (logs,)
