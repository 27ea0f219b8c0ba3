"""The same function for each that is compared: it answers with what it was given."""

from pathlib import Path

LAMBDA = "def handler(event, context):\n    return event\n"
FRAMEWORK = "def handler(request):\n    return request.get_json()\n"


def write(folder: Path, code: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(code)
    return folder
