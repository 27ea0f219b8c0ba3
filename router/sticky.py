"""What ties a user to a version, where an alias is sticky."""

from collections.abc import Callable


def key(by: str, *, field: Callable[[str], str | None], client: Callable[[], str]) -> str | None:
    """By `header:NAME`, `cookie:NAME` or `client`, `None` without such a thing. `field` tells one of the request, and
    `client` the user's address."""
    how, _, name = by.partition(":")
    match how:
        case "header":
            return field(name)
        case "cookie":
            return _cookie(field("Cookie") or "", name)
        case "client":
            return client()
        case _:
            return None


def _cookie(text: str, name: str) -> str | None:
    for pair in text.split(";"):
        found, equals, value = pair.strip().partition("=")
        if equals and found == name:
            return value
    return None
