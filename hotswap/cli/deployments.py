"""Deployments: start one, look at it, follow it to its end."""

import click

from hotswap import model
from hotswap.cli import output, requests
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options, me
from hotswap.cli.comparing import table
from hotswap.cli.completion import function_argument
from hotswap.cli.durations import DURATION
from hotswap.cli.following import Exit, exit_code, follow
from hotswap.cli.verbs import id_argument, why_option
from hotswap.deployment import Deployment, Status
from hotswap.requests import OnConflict
from hotswap.rpc import controller_pb2 as pb

DEFAULT_WAIT = "1h"
timeout_option = click.option(
    "--timeout", type=DURATION, default=DEFAULT_WAIT, show_default=True, help="How long to wait: 90s, 10m, PT1H."
)


@click.command(short_help="Roll out a version of a function to an alias.")
@function_argument
@click.argument("version", type=click.IntRange(min=1))
@click.option("--strategy", type=requests.STRATEGY, help="How; may stand in the configuration instead.")
@click.option("--alias", metavar="NAME", help="The alias that changes.  [default: production]")
@click.option(
    "--config", metavar="FILE|-", help="JSON: the whole request, or only its `config`; - reads standard input."
)
@click.option("--preset", help="A ready configuration: standard, conservative, aggressive, Canary10Percent5Minutes …")
@click.option(
    "--on-conflict",
    type=click.Choice([str(it) for it in OnConflict]),
    help="What to do while another deployment runs on the alias.  [default: reject]",
)
@click.option("--force", is_flag=True, help="Deploy the version though it is in quarantine.")
@why_option
@click.option("--wait", is_flag=True, help="Follow the deployment to its end, which gives the exit code.")
@timeout_option
@output.output_option
@controller_options
def deploy(
    function: str,
    version: int,
    *,
    strategy: str | None,
    alias: str | None,
    config: str | None,
    preset: str | None,
    on_conflict: str | None,
    force: bool,
    why: str,
    wait: bool,
    timeout: float,
    form: output.Format,
    target: Target,
) -> None:
    """Roll out VERSION of FUNCTION to an alias.

    Exit codes, with --wait: 0 it succeeded, 1 it was rolled back or failed, 2 the time is over (it goes on), 3 it
    needs a person.

    \b
    hotswap deploy image-processor 2 --strategy all-at-once --wait
    hotswap deploy image-processor 3 --strategy canary --preset aggressive
    echo '{"canaryIncrements": [10, 50], "canaryDuration": "PT1M"}' |
      hotswap deploy image-processor 3 --strategy canary --config - --wait
    """
    asked = requests.Asked(
        function,
        version,
        strategy=strategy,
        alias=alias,
        preset=preset,
        on_conflict=on_conflict,
        force=force,
        why=why,
    )
    request = requests.build(asked, requests.read(config) if config else {})
    with target.connected() as controller:
        deployment = controller.Deploy(pb.DeployRequest(request_json=request), timeout=ANSWER_LIMIT, metadata=me())
    if wait:
        _end(follow(target, deployment.id, timeout=timeout, form=form))
    elif form == "json":
        output.print_json(output.document(deployment))
    else:
        stands = "waits for its turn" if deployment.status == Status.QUEUED else "has begun"
        click.echo(f"deployment {deployment.id} of {deployment.function} version {deployment.version} {stands}")
        click.echo(f"follow it: hotswap get deployment {deployment.id} -w")


@click.group("get")
def get() -> None:
    """Show one thing in full."""


@get.command("deployment")
@id_argument
@click.option("-w", "--watch", is_flag=True, help="Follow it to its end, which gives the exit code.")
@timeout_option
@output.output_option
@controller_options
def get_deployment(deployment_id: str, *, watch: bool, timeout: float, form: output.Format, target: Target) -> None:
    """Show the deployment ID: its steps, its verdicts, and what can be done."""
    if watch:
        _end(follow(target, deployment_id, timeout=timeout, form=form))
        return
    deployment = _get(target, deployment_id)
    if form == "json":
        output.print_json(output.document(deployment))
    else:
        _tell(deployment)


@click.group("list")
def list_() -> None:
    """List things."""


@list_.command("deployments")
@click.option("--function", default="", help="Only those of this function.")
@click.option("--running", is_flag=True, help="Only those that have not ended.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@output.output_option
@controller_options
def list_deployments(*, function: str, running: bool, limit: int, form: output.Format, target: Target) -> None:
    """List the deployments, the newest first."""
    request = pb.ListDeploymentsRequest(function=function, running=running, limit=limit)
    with target.connected() as controller:
        answer = controller.ListDeployments(request, timeout=ANSWER_LIMIT)
    output.print_messages(answer.deployments, form=form, row=_row, none="there are no deployments")


@list_.command("nodes")
@output.output_option
@controller_options
def list_nodes(*, form: output.Format, target: Target) -> None:
    """List the nodes that have an agent."""
    with target.connected() as controller:
        platform = controller.GetPlatform(pb.GetPlatformRequest(), timeout=ANSWER_LIMIT)
    output.print_messages(platform.nodes, form=form, row=_node_row, none="no agent runs: hotswap agent --name NODE")


@click.command()
@id_argument
@output.output_option
@controller_options
def status(deployment_id: str, *, form: output.Format, target: Target) -> None:
    """Say in one line how a deployment stands.

    The exit code says it too: 0 on its way or succeeded, 1 rolled back or failed, 3 needs a person.
    """
    deployment = _get(target, deployment_id)
    code = exit_code(Status(deployment.status))
    if form == "json":
        told = {"id": deployment.id, "status": deployment.status, "reason": deployment.reason}
        output.print_json({**told, "exitCode": int(code)})
    else:
        click.echo(": ".join(filter(None, [deployment.status, deployment.reason])))
    _end(code)


def _get(target: Target, deployment_id: str) -> pb.Deployment:
    with target.connected() as controller:
        return controller.GetDeployment(pb.GetDeploymentRequest(id=deployment_id), timeout=ANSWER_LIMIT)


def _end(code: Exit) -> None:
    if code:
        click.get_current_context().exit(code)


def _row(deployment: pb.Deployment) -> output.Row:
    return {
        "DEPLOYMENT": deployment.id,
        "FUNCTION": f"{deployment.function}:{deployment.alias}",
        "VERSION": f"{deployment.stable or '-'} → {deployment.version}",
        "STRATEGY": deployment.strategy,
        "STATUS": deployment.status,
        "CREATED": output.moment(deployment.created),
        "REASON": output.first_line(deployment.reason),
    }


def _node_row(node: pb.Node) -> output.Row:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(node.labels.items()))
    guards = dict(node.guards)
    isolation = guards.pop("isolation", "")
    kept = "; ".join(f"{what}: {by}" for what, by in sorted(guards.items()))
    return {
        "NODE": node.name,
        "ADDRESS": node.address,
        "LABELS": labels,
        "PLATFORM": f"{node.platform}, Python {node.python}" if node.platform else "",
        "ISOLATION": isolation,
        "LIMITS KEPT BY": kept,
    }


def _tell(deployment: pb.Deployment) -> None:
    facts = [
        ("deployment", deployment.id),
        ("function", f"{deployment.function}:{deployment.alias}"),
        ("version", f"{deployment.stable or '-'} → {deployment.version}"),
        ("strategy", deployment.strategy),
        ("status", ": ".join(filter(None, [deployment.status, deployment.reason]))),
        ("created", " by ".join(filter(None, [output.moment(deployment.created), deployment.who]))),
        ("finished", output.moment(deployment.finished)),
    ]
    for index, step in enumerate(deployment.steps):
        done = deployment.finished or index < deployment.step
        mark = "✓" if done else "▸" if index == deployment.step else " "
        facts.append(("" if index else "steps", f"{mark} {step}"))
    for index, verdict in enumerate(deployment.verdicts):
        told = f"{output.clock(verdict.at)} {verdict.outcome} {verdict.text}"
        facts.append(("" if index else "verdicts", "\n".join([told, *verdict.warnings])))
    facts.extend(_compared(deployment))
    facts.extend(("" if index else "next", command) for index, command in enumerate(deployment.next))
    output.print_facts(facts)


def _compared(deployment: pb.Deployment) -> list[tuple[str, str]]:
    """The comparison of a test, as the guide's table."""
    record = model.decode(deployment.record_json, Deployment, where=f"deployment {deployment.id}")
    if record.comparison is None:
        return []
    return [("comparison", "\n".join(table(record.comparison)))]


COMMANDS = (
    deploy,
    get,
    list_,
    status,
)
