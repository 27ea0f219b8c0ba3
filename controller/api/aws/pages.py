"""Lists in pages: `Marker` says after which item the next one begins, `MaxItems` how many it has at most. Pure."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from controller.api.aws.faults import invalid

USUAL = 50
MOST = 10_000

T = TypeVar("T")


def page(items: list[T], key: Callable[[T], str], asked: Mapping[str, str]) -> tuple[list[T], str | None]:
    """In order, and the marker of the next page. An item that went since the last page is still a place."""
    items = sorted(items, key=lambda item: _order(key(item)))
    begin = _after(items, key, asked.get("Marker", ""))
    end = begin + _most(asked.get("MaxItems", str(USUAL)))
    return items[begin:end], (key(items[end - 1]) if end < len(items) else None)


def _after(items: list[T], key: Callable[[T], str], marker: str) -> int:
    if not marker:
        return 0
    wanted = _order(marker)
    return sum(_order(key(item)) <= wanted for item in items)


def _order(key: str) -> tuple[int, str]:
    """Numbers by their value, in front of names."""
    return (int(key), "") if key.isascii() and key.isdigit() else (1 << 62, key)


def _most(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise invalid(f'MaxItems is "{text}"; it must be 1 to {MOST}')
    return int(text)
