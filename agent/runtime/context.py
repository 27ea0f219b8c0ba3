"""The context that a handler gets beside its event, as on AWS Lambda."""

import base64
import json
import os
import sys
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

ACCOUNT = "000000000000"
CLIENT = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
"""What a mobile application tells of itself."""


class BadClientContext(ValueError):
    """It is not an object of JSON in base64."""


class Identity(SimpleNamespace):
    """Of Amazon Cognito's users, whom nobody here knows."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    function_name: str
    function_version: str
    memory_limit_in_mb: int
    aws_request_id: str
    deadline: float = field(repr=False)
    """Monotonic time at which the invocation's time is used up."""
    client_context: SimpleNamespace | None = None
    """`custom`, `env` and `client`, as the caller has told them."""
    identity: Identity = field(default_factory=Identity)

    @property
    def request_id(self) -> str:
        return self.aws_request_id

    @property
    def invoked_function_arn(self) -> str:
        """With the version, whatever it was invoked by."""
        region = os.environ.get("AWS_REGION", "")
        return f"arn:aws:lambda:{region}:{ACCOUNT}:function:{self.function_name}:{self.function_version}"

    @property
    def log_group_name(self) -> str:
        return f"/hotswap/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        return self.function_version

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        sys.stdout.write(str(message))


def client_context(header: str) -> SimpleNamespace | None:
    """Of the header `X-Amz-Client-Context`; raises `BadClientContext`."""
    if not header:
        return None
    try:
        told = json.loads(base64.b64decode(header, validate=True))
    except ValueError as error:
        raise BadClientContext(f"Could not parse client context: {error}") from None
    if not isinstance(told, dict):
        raise BadClientContext("Could not parse client context: it is not an object")
    client: dict[str, Any] = told.get("client") or {}
    return SimpleNamespace(
        custom=told.get("custom"),
        env=told.get("env"),
        client=SimpleNamespace(**{name: client.get(name) for name in CLIENT}) if client else None,
    )
