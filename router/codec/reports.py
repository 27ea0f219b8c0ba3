"""What a function reports of itself with an answer: `Hotswap-Metric: conversion=1, revenue=12.5`.

Items that are no name with a number are counted and otherwise left out, as are those past the most that are read: the
answer is good all the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hotswap.usage import MOST_VALUE, NAME

MOST_REPORTS: Final = 16
"""Of one answer."""
ITEM: Final = re.compile(rb"(%b)=([+-]?[0-9]{1,16}(?:\.[0-9]{1,16})?(?:[eE][+-]?[0-9]{1,2})?)" % NAME.encode())


@dataclass(frozen=True, slots=True)
class Reports:
    values: tuple[tuple[bytes, float], ...]
    malformed: int = 0


def read_reports(fields: Sequence[bytes]) -> Reports:
    """Of all fields of that name. Empty items are nothing, as in every list (RFC 9110 section 5.6.1)."""
    items = [item for field in fields for told in field.split(b",") if (item := told.strip(b" \t"))]
    found = [read for item in items[:MOST_REPORTS] if (read := _read(item))]
    return Reports(tuple(found), len(items) - len(found))


def _read(item: bytes) -> tuple[bytes, float] | None:
    told = ITEM.fullmatch(item)
    if told is None:
        return None
    value = float(told[2])
    return (told[1], value) if abs(value) <= MOST_VALUE else None
