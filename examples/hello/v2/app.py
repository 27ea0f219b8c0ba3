"""More polite: an event in, a JSON answer out."""

from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    return {"greeting": f"Good day, {event['name']}!", "version": context.function_version}
