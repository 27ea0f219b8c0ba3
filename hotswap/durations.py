"""Durations as people write them: "30s", "1m30s", "250ms", "90d", or ISO 8601 as on the wire."""

import re
from datetime import timedelta

import msgspec

SHORT = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in ("d", "h", "m(?!s)", "s", "ms")))


def parse(text: str) -> timedelta:
    """Raises `ValueError` for what is no duration, or none longer than 0."""
    if text and (short := SHORT.fullmatch(text)):
        days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in short.groups())
        try:
            duration = timedelta(days, seconds, 0, milliseconds, minutes, hours)
        except OverflowError:
            raise ValueError(f'"{text}" is too long') from None
    else:
        try:
            duration = msgspec.convert(text, timedelta)
        except msgspec.ValidationError:
            raise ValueError(f'"{text}" is no duration') from None
    if duration <= timedelta():
        raise ValueError(f'"{text}" is not longer than 0')
    return duration
