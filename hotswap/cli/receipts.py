"""The receipts of a deployment's verdicts, checked on this machine: no controller is asked what they mean."""

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options
from hotswap.judge.verdict import Verdict
from hotswap.model import Model, decode
from hotswap.receipt import Receipt, faults
from hotswap.rpc import controller_pb2 as pb


class Kept(Model, frozen=True, kw_only=True):
    """What `hotswap verify ID -o json` prints and `--file` reads."""

    deployment: str
    verdicts: list[Verdict]
    """Of the record."""
    last: str
    """Hash of the last receipt, of the record too."""
    receipts: list[Receipt]


@click.command(short_help="Give the verdicts of a deployment again, from their receipts.")
@click.argument("deployment_id", metavar="ID", required=False)
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Receipts that were kept by -o json.")
@output.output_option
@controller_options
def verify(deployment_id: str | None, *, file: Path | None, form: output.Format, target: Target) -> None:
    """Give the verdicts of the deployment ID again, each from its receipt, and check that none was changed.

    A receipt has the counts, the limits and the time. The rules are applied to them on this machine, the chain of
    hashes is followed to the one in the record. Exit code 1 if anything does not hold.

    \b
    hotswap verify d-1a2b3c4d
    hotswap verify d-1a2b3c4d -o json > receipts.json; hotswap verify --file receipts.json
    """
    if (deployment_id is None) == (file is None):
        raise click.UsageError("name a deployment, or a file of kept receipts with --file")
    kept = decode(file.read_bytes(), Kept, where=str(file)) if file else fetch(target, deployment_id or "")
    found = faults(kept.receipts, verdicts=kept.verdicts, last=kept.last)
    if form == "json":
        output.print_json(msgspec.to_builtins(kept))
    else:
        _tell(kept, found)
    for fault in found:
        click.echo(f"{kept.deployment}: {fault}", err=True)
    if found:
        raise click.exceptions.Exit(1)


def fetch(target: Target, deployment_id: str) -> Kept:
    with target.connected() as controller:
        request = pb.WatchDeploymentRequest(id=deployment_id)
        update = next(iter(controller.WatchDeployment(request, timeout=ANSWER_LIMIT)))
    record: dict[str, Any] = json.loads(update.deployment.record_json)
    return Kept(
        deployment=deployment_id,
        verdicts=msgspec.convert(record.get("verdicts", []), list[Verdict]),
        last=record.get("receipt", ""),
        receipts=[
            decode(event.receipt_json.encode(), Receipt, where=f"the receipt of event {event.number}")
            for event in update.events
            if event.receipt_json
        ],
    )


def _tell(kept: Kept, found: list[str]) -> None:
    for number, receipt in enumerate(kept.receipts, 1):
        verdict, basis = receipt.judged.verdict, receipt.judged.basis
        click.echo(f"{number}  {output.clock(verdict.at.isoformat())}  {verdict.outcome}: {verdict.text}")
        where = f"version {basis.version} at step {basis.step + 1}"
        click.echo(f"   {where}, judged by {receipt.software}: receipt {receipt.hash[:16]}")
    if not kept.receipts:
        click.echo(f"deployment {kept.deployment} has no verdict yet")
    elif not found:
        click.echo(f"{kept.deployment}: every verdict follows from its receipt, and the receipts from each other")


COMMANDS = (verify,)
