"""Functions for tests, written as a user would write them: a folder with code and a hotswap.toml."""

from pathlib import Path
from textwrap import dedent

ECHO = """
    VERSION = {label!r}

    def handler(event, context):
        return {{"label": VERSION, "event": event}}
"""
"""Answers its label and the event."""

UNIMPORTABLE = "import a_module_that_nobody_has\n"


def write_function(folder: Path, code: str, *, name: str = "echo", manifest: str = "", **values: object) -> Path:
    """A handler function in `folder`; `values` fill the braces of `code`, `manifest` adds lines to hotswap.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(dedent(code).format(**values) if values else dedent(code))
    (folder / "hotswap.toml").write_text(
        f'function = "{name}"\nkind = "handler"\nentrypoint = "app:handler"\n{dedent(manifest)}'
    )
    return folder
