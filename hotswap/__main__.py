"""`python -m hotswap`: the same as the `hotswap` command."""

from hotswap.cli.main import cli

cli(prog_name="hotswap")
