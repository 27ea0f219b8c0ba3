"""What a new version is tested with before it takes traffic, and what came of it."""

from datetime import timedelta
from typing import Annotated

import msgspec

from hotswap.model import Model


class Load(Model, frozen=True, kw_only=True):
    """Many invocations with the sample payload."""

    requests: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    """At a time."""
    max_error_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01


class Hook(Model, frozen=True, kw_only=True):
    """A call that must be answered with 2xx. Its JSON body says what is tested, and where it can be invoked."""

    url: Annotated[str, msgspec.Meta(pattern="^https?://", max_length=2000)]
    method: Annotated[str, msgspec.Meta(pattern="^(POST|PUT|GET)$")] = "POST"
    timeout: timedelta = timedelta(seconds=10)
    headers: dict[str, str] = {}


class Suite(Model, frozen=True, kw_only=True):
    smoke: bool = True
    """One invocation with the sample payload."""
    load: Load | None = Load()
    schema: bool = True
    """Real answers against the schemas that the version was published with."""
    hooks: list[Hook] = []


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
