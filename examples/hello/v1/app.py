"""The smallest function: an event in, a JSON answer out."""

from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    return {"greeting": f"Hello, {event['name']}!", "version": context.function_version}
