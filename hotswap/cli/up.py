"""`hotswap up`: the whole platform on this machine, until Ctrl-C."""

import asyncio
import signal
from pathlib import Path

import click

from hotswap import logs
from hotswap.cli import running
from hotswap.cli.platform import Platform
from hotswap.cli.services import insecure_option, parse_etcd
from hotswap.settings import EtcdSettings, check_listener

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command(context_settings={"show_default": True})
@running.state_dir_option
@click.option("--agents", type=click.IntRange(min=1, max=64), default=2, help="Nodes, each with an agent of its own.")
@click.option("--workers", type=click.IntRange(min=1, max=64), default=2, help="Processes of the router.")
@click.option("--router", default="127.0.0.1:8080", help="host:port where invocations are taken; port 0: a free one.")
@click.option("--controller", default="127.0.0.1:7070", help="host:port of the controller's gRPC; port 0: a free one.")
@click.option("--admin", default="127.0.0.1:0", help="host:port of the router's metrics; port 0: a free one.")
@click.option("--etcd", metavar="URL[,…]", help="An etcd that runs already, instead of one of our own.")
@insecure_option
def up(
    *,
    state_dir: Path,
    agents: int,
    workers: int,
    router: str,
    controller: str,
    admin: str,
    etcd: str | None,
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
    for option, address in (("--router", router), ("--controller", controller), ("--admin", admin)):
        check_listener(address, option=option, insecure=insecure)
    platform = Platform(
        state_dir=state_dir,
        agents=agents,
        workers=workers,
        external_etcd=EtcdSettings(endpoints=parse_etcd(etcd)) if etcd else None,
        controller=controller,
        router=router,
        admin=admin,
        tell=click.echo,
    )
    asyncio.run(_run(platform))


async def _run(platform: Platform) -> None:
    me = asyncio.current_task()
    assert me, "runs as a task"
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in SIGNALS:
            loop.add_signal_handler(number, platform.kill_all)
        click.echo("stopping; once more to stop at once")
        me.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        async with platform:
            _tell(platform)
            await platform.ended()
    except asyncio.CancelledError:
        click.echo("stopped")


def _tell(platform: Platform) -> None:
    click.echo(f"router       http://{platform.router}/fn/FUNCTION")
    click.echo(f"metrics      http://{platform.admin}/metrics")
    click.echo(f"controller   {platform.controller}")
    click.echo(f"etcd         {platform.etcd.endpoints[0]}")
    click.echo(f"nodes        {', '.join(node.name for node in platform.nodes)}")
    click.echo(f"state        {platform.state_dir}")
    click.echo("ready; Ctrl-C stops it")


COMMANDS = (up,)
