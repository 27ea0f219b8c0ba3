"""What a new version is tested with before it takes traffic."""

from datetime import timedelta
from typing import Annotated

import msgspec

from hotswap.model import Model


class Load(Model, frozen=True, kw_only=True):
    requests: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    max_error_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01


class Hook(Model, frozen=True, kw_only=True):
    url: str
    method: str = "POST"
    timeout: timedelta = timedelta(seconds=10)
    headers: dict[str, str] = {}


class Suite(Model, frozen=True, kw_only=True):
    smoke: bool = True
    load: Load | None = Load()
    schema: bool = True
    hooks: list[Hook] = []
