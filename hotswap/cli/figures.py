"""What the versions of a function did, and what their instances use."""

import json
from collections.abc import Mapping

import click

from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options
from hotswap.cli.completion import function_argument
from hotswap.figures import Figures, Incident, InstanceFigures, VersionFigures
from hotswap.model import decode
from hotswap.rpc import controller_pb2 as pb


@click.command(short_help="Show what the versions of a function did and use.")
@function_argument
@output.output_option
@controller_options
def metrics(function: str, *, form: output.Format, target: Target) -> None:
    """Show what the versions of a function did, by alias, and what their instances use.

    Counted is since the routers that run now were started. Errors are told by their cause.

    \b
    hotswap metrics image-processor
    hotswap metrics image-processor -o json
    """
    with target.connected() as controller:
        answer = controller.GetFigures(pb.GetFiguresRequest(function=function), timeout=ANSWER_LIMIT)
    if form == "json":
        output.print_json(json.loads(answer.figures_json))
        return
    figures = decode(answer.figures_json, Figures, where=f"the figures of {function}")
    output.print_rows(map(version_row, figures.versions), none="no version was invoked yet")
    click.echo()
    output.print_rows(map(instance_row, figures.instances), none="no instance runs")
    if figures.incidents:
        click.echo()
        output.print_rows(map(incident_row, figures.incidents), none="")
    for missing in figures.missing:
        click.echo(f"not in it: {missing}", err=True)


def version_row(of: VersionFigures) -> output.Row:
    return {
        "ALIAS": of.alias or "(by version)",
        "VERSION": str(of.version),
        "INVOCATIONS": str(of.invocations),
        "SUCCESS": _percent(of.success_rate),
        "P50": _milliseconds(of.p50),
        "P95": _milliseconds(of.p95),
        "P99": _milliseconds(of.p99),
        "COLD": f"{of.cold_starts} ({_percent(of.cold_start_rate)})" if of.cold_starts else "0",
        "IN FLIGHT": str(of.in_flight),
        "ERRORS": _causes(of.errors | {"platform": of.platform_failures}),
        "REPORTED": ", ".join(f"{name} {mean:.4g}" for name, mean in of.reported.items()),
    }


def instance_row(of: InstanceFigures) -> output.Row:
    return {
        "VERSION": str(of.version),
        "NODE": of.node,
        "INSTANCE": of.instance,
        "STATE": of.state,
        "MEMORY": output.size(of.memory),
        "CPU": f"{of.cpu_seconds:.2f} s",
        "WAKES": str(of.wakes),
        "RESTARTS": f"{of.restarts} ({of.last_cause})" if of.last_cause else str(of.restarts),
        "START": ", ".join(f"{part} {took:.0f} ms" for part, took in of.start_ms.items()),
    }


def incident_row(of: Incident) -> output.Row:
    return {
        "AT": output.moment(of.at.isoformat()),
        "VERSION": str(of.version),
        "NODE": of.node,
        "INSTANCE": of.instance,
        "CAUSE": of.cause,
        "WHAT": output.first_line(of.text),
    }


def _causes(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{cause} {count}" for cause, count in errors.items() if count)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.4g} %"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} ms"


COMMANDS = (metrics,)
