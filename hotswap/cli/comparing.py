"""How the versions of a test stand, while it runs and at its end: the guide's table."""

import json

import click

from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options
from hotswap.cli.verbs import id_argument
from hotswap.comparison import Comparison, decision, headings, rows
from hotswap.model import decode
from hotswap.rpc import controller_pb2 as pb


@click.command(short_help="Show how the versions of a test stand.")
@id_argument
@output.output_option
@controller_options
def compare(deployment_id: str, *, form: output.Format, target: Target) -> None:
    """Show how the versions of the A/B test ID stand, now or when it ended.

    The intervals and confidences hold however often you look. A winner is named only when the test has run its time.

    \b
    hotswap compare d-1a2b3c4d
    hotswap compare d-1a2b3c4d -o json
    """
    with target.connected() as controller:
        answer = controller.Compare(pb.GetDeploymentRequest(id=deployment_id), timeout=ANSWER_LIMIT)
    if form == "json":
        output.print_json(json.loads(answer.comparison_json))
        return
    comparison = decode(answer.comparison_json, Comparison, where=f"the comparison of {deployment_id}")
    units = ", ".join(f"v{version} {count}" for version, count in comparison.units.items())
    click.echo(f"{comparison.unit}s: {units}")
    click.echo("\n".join(table(comparison)))


def table(comparison: Comparison) -> list[str]:
    """Its lines, and the decision."""
    cells = [headings(comparison), *rows(comparison)]
    widths = [max(len(line) for row in cells for line in row[at].split("\n")) for at in range(len(cells[0]))]
    lines = [line for row in cells for line in _lines(row, widths)]
    return [*lines, decision(comparison)]


def _lines(row: list[str], widths: list[int]) -> list[str]:
    """Of a row whose cells may have several lines each."""
    cells = [cell.split("\n") for cell in row]
    height = max(map(len, cells))
    padded = [[*lines, *[""] * (height - len(lines))] for lines in cells]
    return [
        "  ".join(lines[at].ljust(width) for lines, width in zip(padded, widths, strict=True)).rstrip()
        for at in range(height)
    ]


COMMANDS = (compare,)
