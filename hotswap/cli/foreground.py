"""The platform in the foreground of a terminal: told as it goes, stopped in order by a signal, at once by a second."""

import asyncio
import signal

import click

from hotswap.cli.platform import Platform
from hotswap.credentials import ADMIN_FILE

SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def run(platform: Platform) -> None:
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
    click.echo(f"rest         http://{platform.rest}/api/v1")
    click.echo(f"etcd         {platform.etcd.endpoints[0]}")
    click.echo(f"nodes        {', '.join(node.name for node in platform.nodes)}")
    click.echo(f"state        {platform.state_dir}")
    click.echo(f"admin token  {platform.state_dir / ADMIN_FILE}")
    click.echo("ready; Ctrl-C stops it")
