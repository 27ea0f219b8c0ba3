"""A schema that takes for ever is given up, and holds up nobody meanwhile."""

import asyncio
import json

import psutil
import pytest

from hotswap.fitting import misfit
from tests.conditions import eventually

ENDLESS = b'{"pattern": "^(a+)+$"}'
"""Twice as long for each character."""
LONG = json.dumps("a" * 64 + "!").encode()


def checkers() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "hotswap.fitting" in child.cmdline()]


async def test_what_fits_has_nothing_wrong_and_what_does_not_is_told_with_its_place() -> None:
    schema = b'{"properties": {"name": {"type": "string"}}}'
    assert await misfit(schema, b'{"name": "Ada"}') is None
    assert await misfit(schema, b'{"name": 3}') == "$.name: 3 is not of type 'string'"


async def test_a_large_document_is_checked_whole() -> None:
    document = json.dumps(["x" * 1000] * 1000 + [3]).encode()
    assert await misfit(b'{"items": {"type": "string"}}', document) == "$[1000]: 3 is not of type 'string'"


async def test_a_pattern_without_end_is_given_up_and_others_go_on_meanwhile() -> None:
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    other = asyncio.create_task(other_work())
    said = await misfit(ENDLESS, LONG, limit=2)
    other.cancel()
    assert said == "it cannot be told within 2 s: simplify the patterns of the schema"
    assert turns >= 10
    assert checkers() == []


async def test_who_is_cancelled_leaves_no_process_behind() -> None:
    task = asyncio.create_task(misfit(ENDLESS, LONG))
    await eventually(checkers)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert checkers() == []
