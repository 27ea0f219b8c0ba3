"""How every command prints: a table for people, or with `-o json` the documents, one way for all of them.

Documents have the names of the wire in camelCase; numbers are numbers (protobuf's own JSON writes 64-bit ones as
strings), and what travels as JSON inside a message (`request_json`) is told as the document it is (`request`).
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar

import click
from google.protobuf.message import Message
from rich.cells import cell_len, set_cell_size
from rich.console import Console

Format = Literal["table", "json"]
Document = dict[str, Any]
M = TypeVar("M", bound=Message)

Row = dict[str, str]
"""The cells of a row by their columns."""

output_option: Callable[[Any], Any] = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)


def console() -> Console:
    """Made anew for each use: it looks up the stream that is standard output now, and whether that is a terminal."""
    return Console(highlight=False, soft_wrap=True)


def document(message: Message) -> Document:
    """A message as the document that is printed: every field that it has, also those that are empty."""
    told: Document = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        nested = field.message_type
        if field.name.endswith("_json"):
            told[field.json_name.removesuffix("Json")] = json.loads(value) if value else None
        elif nested is not None and nested.GetOptions().map_entry:
            told[field.json_name] = {str(key): item for key, item in sorted(value.items())}
        elif nested is not None and field.is_repeated:
            told[field.json_name] = [document(item) for item in value]
        elif nested is not None:
            told[field.json_name] = document(value)
        else:
            told[field.json_name] = list(value) if field.is_repeated else value
    return told


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def print_messages(messages: Iterable[M], *, form: Format, row: Callable[[M], Row], none: str) -> None:
    """A list of messages; `row` gives the cells of one."""
    if form == "json":
        print_json([document(message) for message in messages])
        return
    print_rows(map(row, messages), none=none)


def print_rows(told: Iterable[Row], *, none: str) -> None:
    """All with the same columns; `none` is what is said when there are none."""
    rows = list(told)
    if not rows:
        click.echo(none, err=True)
        return
    widths = [max(map(cell_len, [column, *(row[column] for row in rows)])) for column in rows[0]]
    click.secho(_line(rows[0], widths), bold=True)
    for cells in rows:
        click.echo(_line(cells.values(), widths))


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """One thing, told by name and value; a fact without a value is left out, one without a name goes on."""
    told = [(name, value) for name, value in facts if value]
    width = max(cell_len(name) for name, _ in told)
    for name, value in told:
        for index, line in enumerate(value.splitlines()):
            label = click.style(set_cell_size("" if index else name, width), bold=True)
            click.echo(f"{label}  {line}")


def first_line(text: str) -> str:
    return text.partition("\n")[0]


def weights(given: Mapping[int, int]) -> str:
    """`{5: 90, 6: 10}` as `5=90, 6=10`."""
    return ", ".join(f"{version}={weight}" for version, weight in sorted(given.items()))


def moment(text: str) -> str:
    """A time of the wire, RFC 3339, in this machine's zone to the second; empty stays empty."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(text: str) -> str:
    return moment(text).partition(" ")[2]


def size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
