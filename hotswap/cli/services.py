"""The single services: `hotswap controller`, `hotswap router`, `hotswap agent`, each until it is told to stop.

A service is imported only by its own command, since no other needs it. What it is told comes as options, or as
environment variables named by `--help`.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import wraps
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click

from hotswap import aws_keys, credentials, logs
from hotswap.auth import parse
from hotswap.cli.durations import DURATION
from hotswap.cli.limits import limit_options
from hotswap.cli.running import default_state_dir
from hotswap.cli.sources import source_options
from hotswap.errors import Invalid
from hotswap.settings import (
    ETCD_PORT,
    AgentSettings,
    ControllerSettings,
    EtcdSettings,
    Isolation,
    Lane,
    PrometheusSettings,
    RouterLimits,
    RouterSettings,
    check_listener,
    host_and_port,
)

PEM = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, resolve_path=True, path_type=Path)


def parse_etcd(text: str) -> tuple[str, ...]:
    """`host:port,host:port`; what users know as URLs is understood too."""
    members = tuple(part.strip().split("://")[-1].rstrip("/") for part in text.split(","))
    for member in members:
        host_and_port(member, option="--etcd")
    return members


def etcd_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where etcd is; reaches the command as `etcd`."""

    @click.option("--etcd", default=f"127.0.0.1:{ETCD_PORT}", show_default=True, help="host:port[,…] of its members.")
    @click.option("--etcd-ca", type=PEM, help="Certificate authority in PEM; without it the connection is plain.")
    @click.option("--etcd-cert", type=PEM, help="Certificate of this client.")
    @click.option("--etcd-key", type=PEM, help="Its key.")
    @click.option("--etcd-user", default="")
    @click.option("--etcd-password", default="", help="Better in the environment, where no process list shows it.")
    @wraps(command)
    def run(*arguments: Any, etcd: str, etcd_ca: Path | None, etcd_cert: Path | None, etcd_key: Path | None,
            etcd_user: str, etcd_password: str, **options: Any) -> None:  # fmt: skip
        settings = EtcdSettings(parse_etcd(etcd), etcd_ca, etcd_cert, etcd_key, etcd_user, etcd_password)
        command(*arguments, etcd=settings, **options)

    return run


name_option = click.option("--name", default=socket.gethostname, show_default="host name", help="Unique of its kind.")


def _configured(context: click.Context, _option: click.Parameter, level: str) -> None:
    logs.configure(str(context.command.name), level=level)


log_level_option = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    expose_value=False,
    callback=_configured,
    help="The least that is told on standard error; debug tells of each malformed request, too.",
)
insecure_option = click.option(
    "--insecure", is_flag=True, help="Allow addresses off loopback: nobody is authenticated."
)


artifacts_option = click.option(
    "--artifacts",
    metavar="FOLDER|s3://BUCKET",
    show_default=False,
    help="Where the published archives are, for all controllers: a folder, or s3://BUCKET[/PREFIX][?endpoint=URL].",
)
isolation_option = click.option(
    "--isolation",
    type=click.Choice(["process", "bwrap", "auto"]),
    default="process",
    help="bwrap: instances see nothing of each other or of the agent, and are not forked; auto: so where it works.",
)
preload_option = click.option(
    "--preload",
    multiple=True,
    metavar="MODULE",
    help="Have zygotes import this too, the function's own where its packages bring it. May be given several times.",
)


@click.command(context_settings={"show_default": True})
@name_option
@click.option("--bind", default="127.0.0.1:7070", help="host:port of its gRPC.")
@click.option("--rest", default="127.0.0.1:7071", help="host:port of its REST; port 0 takes a free one.")
@artifacts_option
@click.option("--auth", is_flag=True, help="Callers need a token; see `hotswap token`.")
@click.option(
    "--admin-token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --auth: an admin's token, which is made if there is none. HOTSWAP_ADMIN_TOKEN gives one too.",
)
@click.option(
    "--aws-credentials",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Access keys that requests to AWS Lambda's interface are signed with; with --auth made if there are none.",
)
@source_options
@log_level_option
@insecure_option
@etcd_options
def controller(
    *,
    name: str,
    bind: str,
    rest: str,
    artifacts: str | None,
    auth: bool,
    admin_token_file: Path | None,
    aws_credentials: Path | None,
    prometheus: PrometheusSettings | None,
    insecure: bool,
    etcd: EtcdSettings,
) -> None:
    """Run a controller: it publishes, deploys and rolls back."""
    check_listener(bind, option="--bind", insecure=insecure, auth=auth)
    check_listener(rest, option="--rest", insecure=insecure, auth=auth)
    admins = admin_tokens(admin_token_file, os.environ.get("HOTSWAP_ADMIN_TOKEN", ""), auth=auth)
    keys = (aws_keys.kept if auth else aws_keys.read)(aws_credentials) if aws_credentials else {}
    from controller.server import run

    folder, bucket = parse_artifacts(artifacts or "")
    settings = ControllerSettings(
        name=name,
        artifacts=folder,
        bucket=bucket,
        etcd=etcd,
        bind=bind,
        rest=rest,
        auth=auth,
        admin_tokens=admins,
        aws_keys=keys,
        prometheus=prometheus,
    )
    asyncio.run(run(settings))


def parse_artifacts(told: str) -> tuple[Path, str]:
    """The folder, and the bucket where one is named: the folder has what is not whole yet then."""
    bucket = told if "://" in told else ""
    folder = told if told and not bucket else default_state_dir() / "artifacts"
    return Path(folder).resolve(), bucket


def admin_tokens(file: Path | None, given: str, *, auth: bool) -> tuple[str, ...]:
    """Raises `Invalid` for what is no token, and for tokens that nobody would be asked for."""
    if not auth and (file or given):
        raise Invalid(
            "an admin's token is given, but callers are not asked for one",
            hint="add --auth, or leave out --admin-token-file and HOTSWAP_ADMIN_TOKEN",
        )
    kept = [credentials.kept(file)] if file else []
    return tuple(bearer.text for bearer in [*kept, *([parse(given)] if given else [])])


def check_networks(networks: tuple[str, ...]) -> None:
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            hint = "for example --trusted 10.0.0.0/8; --trusted 192.0.2.7 for one address"
            raise Invalid(f"--trusted {network} is no network: {error}", hint=hint) from None


@click.command(context_settings={"show_default": True})
@name_option
@click.option("--bind", default="127.0.0.1:8080", help="host:port where invocations are taken.")
@click.option("--admin", default="127.0.0.1:0", help="host:port of metrics and health; port 0 takes a free one.")
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Processes that share the port.")
@click.option("--drain", type=DURATION, default="30s", help="How long requests that run may go on at the end.")
@click.option(
    "--lane",
    type=click.Choice(["express", "general"]),
    default="express",
    help="general: every request through the slower lane, to tell where a fault is.",
)
@click.option(
    "--trusted",
    multiple=True,
    metavar="NETWORK",
    show_default=False,
    help="A network of proxies whose X-Forwarded-* are believed: 10.0.0.0/8. May be given several times.",
)
@limit_options
@click.option("--state-dir", type=FOLDER, help="Where it keeps its table and its counters.")
@log_level_option
@insecure_option
@etcd_options
def router(
    *,
    name: str,
    bind: str,
    admin: str,
    workers: int,
    drain: float,
    lane: Lane,
    trusted: tuple[str, ...],
    limits: RouterLimits,
    state_dir: Path | None,
    insecure: bool,
    etcd: EtcdSettings,
) -> None:
    """Run a router: it takes every invocation and picks the version."""
    check_listener(bind, option="--bind", insecure=insecure)
    check_listener(admin, option="--admin", insecure=insecure)
    check_networks(trusted)
    import uvloop

    from router.server import run

    folder = state_dir or default_state_dir() / "router"
    uvloop.run(run(RouterSettings(name, folder, etcd, bind, admin, workers, drain, lane, trusted, limits)))


@click.command(context_settings={"show_default": True})
@name_option
@click.option("--bind", default="127.0.0.1:0", help="host:port of its gRPC; port 0 takes a free one.")
@click.option("--admin", default="127.0.0.1:0", help="host:port of metrics and health; port 0 takes a free one.")
@click.option("--instance-host", default="127.0.0.1", help="Address of this machine at which routers reach instances.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="What placements select by; may be repeated."
)
@click.option(
    "--capacity", type=click.IntRange(min=0), default=0, help="MiB for instances; 0 for all of the machine's."
)
@click.option(
    "--cache", type=click.IntRange(min=0), default=10 * 1024, help="MiB for the files of versions that do not run here."
)
@click.option("--keep-instances", is_flag=True, help="At the end leave the instances serving, for the next agent.")
@click.option("--state-dir", type=FOLDER, help="Where it keeps artifacts, instances and their output.")
@click.option(
    "--zygote/--no-zygote",
    default=True,
    help="Fork instances from a process that has imported the platform, or make each a new interpreter.",
)
@preload_option
@click.option(
    "--zygotes",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="How many sets of packages have a zygote of their own at the same time.",
)
@isolation_option
@log_level_option
@insecure_option
@etcd_options
def agent(
    *,
    name: str,
    bind: str,
    admin: str,
    instance_host: str,
    labels: tuple[str, ...],
    capacity: int,
    cache: int,
    keep_instances: bool,
    state_dir: Path | None,
    zygote: bool,
    preload: tuple[str, ...],
    zygotes: int,
    isolation: Isolation,
    insecure: bool,
    etcd: EtcdSettings,
) -> None:
    """Run an agent: it runs the instances of one node.

    Where controllers ask for tokens it shows the one in HOTSWAP_TOKEN; a viewer's is enough.
    """
    check_listener(bind, option="--bind", insecure=insecure)
    check_listener(admin, option="--admin", insecure=insecure)
    from agent.server import run

    folder = state_dir or default_state_dir() / "agent"
    given = os.environ.get("HOTSWAP_TOKEN", "")
    token = parse(given).text if given else ""
    settings = AgentSettings(
        name=name,
        state_dir=folder,
        etcd=etcd,
        bind=bind,
        instance_host=instance_host,
        labels=parse_labels(labels),
        capacity=capacity,
        keep_instances=keep_instances,
        token=token,
        zygote=zygote,
        preload=preload,
        zygotes=zygotes,
        cache=cache,
        admin=admin,
        isolation=isolation,
    )
    asyncio.run(run(settings))


def parse_labels(given: tuple[str, ...]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Invalid(f'--label: "{text}" is not NAME=VALUE', hint="for example --label zone=a")
        labels[name] = value
    return labels


COMMANDS = (controller, router, agent)
