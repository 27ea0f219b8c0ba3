"""The context that a handler gets beside its event, as on AWS Lambda."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Context:
    function_name: str
    function_version: str
    memory_limit_in_mb: int
    aws_request_id: str
    deadline: float = field(repr=False)
    """Monotonic time at which the invocation's time is used up."""
    client_context: None = None
    identity: None = None

    @property
    def request_id(self) -> str:
        return self.aws_request_id

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:hotswap:lambda:local:000000000000:function:{self.function_name}:{self.function_version}"

    @property
    def log_group_name(self) -> str:
        return f"/hotswap/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        return self.function_version

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))
