"""What a new version is tested with before it takes traffic, and what came of it."""

import re
from datetime import timedelta
from typing import Annotated

import msgspec

from hotswap.model import Model

HOOK_URL = re.compile(r"https?://[^\s/?#@]+(?:[/?][^\s#]*)?")
"""Without user and fragment: credentials belong into a header."""
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 section 5.6.2: token."""
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
LONGEST_HOOK = timedelta(hours=1)
MOST_HOOKS = 16


class Load(Model, frozen=True, kw_only=True):
    """Many invocations with the sample payload."""

    requests: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    """At a time."""
    max_error_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01


class Hook(Model, frozen=True, kw_only=True):
    """A call that must be answered with 2xx. Its JSON body says what is tested, and where it can be invoked."""

    url: Annotated[str, msgspec.Meta(max_length=2000)]
    method: Annotated[str, msgspec.Meta(pattern="^(POST|PUT|GET)$")] = "POST"
    timeout: timedelta = timedelta(seconds=10)
    headers: dict[str, str] = {}

    def __post_init__(self) -> None:
        if not HOOK_URL.fullmatch(self.url):
            raise ValueError(f'"url" is "{self.url[:200]}"; it must be such as "https://ci.example/check"')
        if not timedelta() < self.timeout <= LONGEST_HOOK:
            raise ValueError('"timeout" must be longer than 0 and at most an hour, for example "PT30S"')
        for name, value in self.headers.items():
            if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
                raise ValueError(f'"headers" has "{name[:200]}", which cannot be sent with its value')


class Suite(Model, frozen=True, kw_only=True):
    smoke: bool = True
    """One invocation with the sample payload."""
    load: Load | None = Load()
    schema: bool = True
    """Real answers against the schemas that the version was published with."""
    hooks: Annotated[list[Hook], msgspec.Meta(max_length=MOST_HOOKS)] = []


class Check(Model, frozen=True, kw_only=True):
    """What one test of a suite showed."""

    name: str
    passed: bool
    text: str
    skipped: bool = False
    """It does not apply to the version."""


class Report(Model, frozen=True, kw_only=True):
    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def text(self) -> str:
        """A sentence for each check; of a suite that failed, for the checks that failed."""
        told = self.checks if self.passed else [check for check in self.checks if not check.passed]
        return "; ".join(f"{check.name}: {check.text}" for check in told) or "there was nothing to test"
