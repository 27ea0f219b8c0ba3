"""Hooks: where the changes of status are delivered, how that goes, and what could not be delivered."""

import re
from datetime import datetime
from urllib.parse import urlsplit

from hotswap.deployment import Status
from hotswap.errors import Invalid
from hotswap.model import FunctionName, Record
from hotswap.notice import Notice

HOOK_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
LONGEST_URL = 2_000


class Hook(Record, frozen=True, kw_only=True):
    """A URL that wants to be told. Written by people, and disabled when its receiver says that it is gone."""

    name: str
    url: str
    secret: str
    """The key of the signatures: it signs, so it cannot be stored as a hash."""
    functions: list[FunctionName] = []
    """Only of these; empty for all."""
    statuses: list[Status] = []
    """Only changes to these; empty for all."""
    created: datetime
    who: str = ""
    disabled: str = ""
    """Why nothing is delivered any more; empty while it is enabled."""

    @property
    def enabled(self) -> bool:
        return not self.disabled

    def wants(self, notice: Notice) -> bool:
        return (
            self.enabled
            and (not self.functions or notice.function in self.functions)
            and (not self.statuses or notice.status in self.statuses)
        )


class Deliveries(Record, frozen=True, kw_only=True):
    """How the deliveries to a hook go; written by the leader."""

    hook: str
    delivered: int = 0
    last: datetime | None = None
    failures: int = 0
    """Attempts that failed since the last delivery."""
    error: str = ""
    """What came back from the last of them."""


class Undelivered(Record, frozen=True, kw_only=True):
    """A notice that was given up for a hook, kept for people to see."""

    hook: str
    notice: Notice
    error: str
    at: datetime


def check_name(name: str) -> str:
    if not HOOK_NAME.fullmatch(name):
        raise Invalid(
            f'"{name}" is not a name for a hook',
            hint="use 1 to 63 lower-case letters, digits and hyphens, with a letter or a digit at each end",
        )
    return name


def check_url(url: str) -> str:
    """A URL is shown to everyone who may list hooks, so what is secret has no place in it."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or half of an IPv6 address
        named = False
    if not named or len(url) > LONGEST_URL or not url.isprintable() or " " in url:
        raise Invalid(f'"{url}" is not a URL for a hook', hint="for example https://example.org/hotswap")
    if parts.username is not None or parts.fragment:
        raise Invalid(
            "the URL of a hook must have neither a user, a password nor a fragment",
            hint="the receiver knows us by the signature: leave them out",
        )
    return url
