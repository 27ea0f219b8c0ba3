"""Durations as people write them: "30s", "1m30s", "250ms", or ISO 8601 as on the wire."""

import re
from datetime import timedelta

import msgspec

SHORT = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def parse(text: str) -> timedelta:
    """Raises `ValueError` for what is no duration, or none longer than 0."""
    if text and (short := SHORT.fullmatch(text)):
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in short.groups())
        duration = timedelta(hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
    else:
        try:
            duration = msgspec.convert(text, timedelta)
        except msgspec.ValidationError:
            raise ValueError(f'"{text}" is no duration') from None
    if duration <= timedelta():
        raise ValueError(f'"{text}" is not longer than 0')
    return duration
