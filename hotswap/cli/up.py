"""`hotswap up`: the whole platform on this machine, until Ctrl-C."""

import asyncio
from pathlib import Path

import click

from hotswap import logs
from hotswap.cli import running
from hotswap.cli.services import artifacts_option, insecure_option, isolation_option, parse_etcd, preload_option
from hotswap.cli.sources import source_options
from hotswap.settings import EtcdSettings, Isolation, PrometheusSettings, check_listener


@click.command(context_settings={"show_default": True})
@running.state_dir_option
@click.option("--agents", type=click.IntRange(min=1, max=64), default=2, help="Nodes, each with an agent of its own.")
@click.option("--workers", type=click.IntRange(min=1, max=64), default=2, help="Processes of the router.")
@click.option("--router", default="127.0.0.1:8080", help="host:port where invocations are taken; port 0: a free one.")
@click.option("--controller", default="127.0.0.1:7070", help="host:port of the controller's gRPC; port 0: a free one.")
@click.option("--rest", default="127.0.0.1:7071", help="host:port of the controller's REST; port 0: a free one.")
@click.option("--admin", default="127.0.0.1:0", help="host:port of the router's metrics; port 0: a free one.")
@click.option("--etcd", metavar="URL[,…]", help="An etcd that runs already, instead of one of our own.")
@artifacts_option
@isolation_option
@preload_option
@source_options
@insecure_option
def up(
    *,
    state_dir: Path,
    agents: int,
    workers: int,
    router: str,
    controller: str,
    rest: str,
    admin: str,
    etcd: str | None,
    artifacts: str | None,
    isolation: Isolation,
    preload: tuple[str, ...],
    prometheus: PrometheusSettings | None,
    insecure: bool,
) -> None:
    """Run the whole platform on this machine.

    That is etcd, a controller, a router and agents. Everything is kept in the state directory: functions, versions,
    aliases and their traffic are there again at the next `up`. Ctrl-C stops it in order, a second one at once.

    \b
    hotswap up
    hotswap up --agents 4 --state-dir ./state --router 127.0.0.1:0
    """
    logs.configure("up", level="WARNING")
    for option, address in (("--controller", controller), ("--rest", rest)):
        check_listener(address, option=option, insecure=insecure, auth=True)
    for option, address in (("--router", router), ("--admin", admin)):
        check_listener(address, option=option, insecure=insecure)
    from hotswap.cli.foreground import run  # what only this command needs is imported by it alone
    from hotswap.cli.platform import Platform

    platform = Platform(
        state_dir=state_dir,
        agents=agents,
        workers=workers,
        external_etcd=EtcdSettings(endpoints=parse_etcd(etcd)) if etcd else None,
        controller=controller,
        rest=rest,
        router=router,
        admin=admin,
        artifacts=artifacts,
        isolation=isolation,
        preload=preload,
        prometheus=prometheus,
        tell=click.echo,
    )
    asyncio.run(run(platform))


COMMANDS = (up,)
