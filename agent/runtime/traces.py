"""Tracebacks as the author of the function wants them: from the first line of the function's own code on."""

import traceback
from pathlib import Path
from types import TracebackType

HERE = str(Path(__file__).parent)
MACHINERY = (HERE, "<frozen importlib", "<string>")
MACHINERY_ENDS = ("importlib/__init__.py", "concurrent/futures/thread.py", "asyncio/tasks.py")


def of(error: BaseException) -> list[str]:
    """The lines of the whole traceback, the last one being the error."""
    formatted = traceback.format_exception(type(error), error, _own(error.__traceback__))
    return "".join(formatted).splitlines()


def stack(error: BaseException) -> list[str]:
    """One entry a frame, as Lambda's `stackTrace`."""
    return traceback.format_tb(_own(error.__traceback__))


def _own(trace: TracebackType | None) -> TracebackType | None:
    while trace and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_machinery(file: str) -> bool:
    return file.startswith(MACHINERY) or file.endswith(MACHINERY_ENDS)
