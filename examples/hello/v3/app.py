"""A bad version: it cannot even be imported where its dictionary of names is not installed."""

from typing import Any

from dictionary_of_names import titles


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    return {"greeting": f"Good day, {titles[event['name']]} {event['name']}!", "version": context.function_version}
