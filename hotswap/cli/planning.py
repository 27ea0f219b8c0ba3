"""`hotswap plan`: what a deployment would do, before it is begun. Nothing is changed, anywhere."""

from datetime import timedelta

import click
import msgspec

from hotswap import forecast, model
from hotswap.cli import ground, output, requests
from hotswap.cli.client import Target, controller_options
from hotswap.cli.completion import complete_names
from hotswap.forecast import Finding, Phase, Traffic
from hotswap.judge.wording import percent
from hotswap.requests import AnyRequest, parse

WORTH_TELLING = 0.01
"""From this chance on it is told that a healthy version may go back."""


class Foreseen(model.Model, frozen=True, kw_only=True):
    """What `hotswap plan -o json` prints."""

    function: str
    alias: str
    version: int
    stable: int | None
    strategy: str
    requests_per_second: float
    stable_failures: float
    """How often the version fails that has the traffic, 0 to 1."""
    phases: list[Phase]
    lasts: timedelta
    findings: list[Finding]
    false_alarm: float
    """The chance that the limits, at the end of a phase, take back a version as good as the one before."""
    assumed: bool
    """There was no platform to look at."""


@click.command(short_help="Show what a deployment would do, and what it would catch.")
@click.argument("function", required=False, shell_complete=complete_names)
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--strategy", type=requests.STRATEGY, help="How; may stand in the configuration instead.")
@click.option("--alias", metavar="NAME", help="The alias that would change.  [default: production]")
@click.option(
    "-f", "--config", metavar="FILE|-", help="JSON: the whole request, or only its `config`; - reads standard input."
)
@click.option("--preset", help="A ready configuration: standard, conservative, aggressive, Canary10Percent5Minutes …")
@click.option("--rps", type=click.FloatRange(0, min_open=True), help="Requests per second of the alias; else counted.")
@click.option("--users", type=click.IntRange(min=1), help="How many different users there are.")
@output.output_option
@controller_options
def plan(
    function: str | None,
    version: int | None,
    *,
    strategy: str | None,
    alias: str | None,
    config: str | None,
    preset: str | None,
    rps: float | None,
    users: int | None,
    form: output.Format,
    target: Target,
) -> None:
    """Show what a deployment of VERSION of FUNCTION would do: its phases, who meets the new version in each, and how
    soon one that fails would be caught.

    Nothing is changed. Where no platform runs, --rps has to be told, and the version before is taken to have all the
    traffic.

    \b
    hotswap plan image-processor 6 --strategy canary --rps 120
    hotswap plan -f deployment.json --users 5000
    """
    asked = requests.Asked(function, version, strategy=strategy, alias=alias, preset=preset)
    request = parse(requests.build(asked, requests.read(config) if config else {}))
    begun_on = ground.look(target, request, told=rps is not None)
    foreseen = _foreseen(request, begun_on, ground.traffic(begun_on, request, rate=rps, users=users))
    if form == "json":
        output.print_json(msgspec.to_builtins(foreseen))
    else:
        _tell(foreseen)


def _foreseen(request: AnyRequest, begun_on: ground.Ground, traffic: Traffic) -> Foreseen:
    from controller import strategies

    planned = strategies.plan(request, strategies.State(begun_on.alias, begun_on.version, begun_on.nodes))
    phases = forecast.phases(
        planned.steps,
        version=request.version,
        stable=planned.stable,
        weights=begun_on.alias.weights if begun_on.alias else {},
        sticky=bool(begun_on.alias and begun_on.alias.sticky),
        traffic=traffic,
    )
    return Foreseen(
        function=request.function_name,
        alias=request.alias,
        version=request.version,
        stable=planned.stable,
        strategy=type(request).__name__,
        requests_per_second=traffic.rate,
        stable_failures=traffic.stable,
        phases=forecast.met(phases, traffic),
        lasts=phases[-1].begins + phases[-1].lasts if phases else timedelta(),
        findings=forecast.findings(phases, traffic),
        false_alarm=forecast.false_alarm(phases, traffic),
        assumed=begun_on.assumed,
    )


def _tell(told: Foreseen) -> None:
    output.print_facts(_facts(told))
    click.echo()
    output.print_rows([*map(_row, told.phases), _end(told)], none="the plan has no phases")
    click.echo()
    for found in told.findings:
        click.echo(forecast.sentence(found))
    if not told.findings:
        click.echo("nothing is judged: a version that fails is not caught")
    if told.false_alarm >= WORTH_TELLING:
        chance = percent(told.false_alarm)
        click.echo(f"a version as good as the one before is taken back by the limits in {chance} of all rollouts:")
        click.echo("  its phases are too short for them; make them longer, or raise minInvocations")


def _facts(told: Foreseen) -> list[tuple[str, str]]:
    instead = f" in place of version {told.stable}" if told.stable else ", the first of this alias"
    return [
        ("deployment", f"{told.strategy} of version {told.version} to {told.function}:{told.alias}{instead}"),
        ("requests", f"{told.requests_per_second:.4g}/s, of which {percent(told.stable_failures)} fail today"),
        ("assumed", "no platform runs: as if the version before had all the traffic" if told.assumed else ""),
    ]


def _row(phase: Phase) -> output.Row:
    return {
        "BEGINS": _clock(phase.begins),
        "SHARE": f"{phase.weight} %",
        "INVOCATIONS": str(phase.invocations),
        "USERS": _users(phase),
        "ENDS": f"{_clock(phase.begins + phase.lasts)} {phase.ends}",
    }


def _users(phase: Phase) -> str:
    """How many, where that is known; a share of them only where each stays with a version."""
    if phase.users is not None:
        return str(phase.users)
    return f"{phase.weight} %" if phase.sticky else "any"


def _end(told: Foreseen) -> output.Row:
    return {"BEGINS": _clock(told.lasts), "SHARE": "", "INVOCATIONS": "", "USERS": "", "ENDS": "complete"}


def _clock(since: timedelta) -> str:
    """`0:05:00`, hours first."""
    minutes, seconds = divmod(round(since.total_seconds()), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


COMMANDS = (plan,)
