"""Durations on the command line: `90s`, `1h30m` as in `hotswap.toml`, or ISO 8601."""

import click

from hotswap import durations


class Duration(click.ParamType[float]):
    """Seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return value
        try:
            return durations.parse(value).total_seconds()
        except ValueError as error:
            self.fail(f"{error}; write 90s, 1h30m or PT90S", param, ctx)


DURATION = Duration()
