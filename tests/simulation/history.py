"""What happened in a world, line by line: when, to whom, what. The same seed has the same history, byte for byte."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256

actor: ContextVar[str] = ContextVar("actor", default="world")
"""The process whose code runs."""

LOGGERS = ("controller", "agent", "router")


class History(logging.Handler):
    def __init__(self, time: Callable[[], float]) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.faults: list[str] = []
        """What the services themselves took for a fault of ours."""
        self._time = time

    def tell(self, who: str, what: str) -> None:
        self.lines.append(f"{self._time():11.3f}  {who:<10} {what}")

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().replace("\n", " | ")
        if record.exc_info and record.exc_info[1]:
            text = f"{text}: {record.exc_info[1]!r}"
        self.tell(actor.get(), f"  log: {text}")
        if record.levelno >= logging.ERROR:
            self.faults.append(text)

    @property
    def digest(self) -> str:
        return sha256("\n".join(self.lines).encode()).hexdigest()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """What the services log goes here, and nowhere else, until the context ends."""
        loggers = [logging.getLogger(name) for name in LOGGERS]
        before = [(one.level, one.propagate) for one in loggers]
        for one in loggers:
            one.addHandler(self)
            one.setLevel(logging.INFO)
            one.propagate = False
        try:
            yield
        finally:
            for one, (level, propagate) in zip(loggers, before, strict=True):
                one.removeHandler(self)
                one.setLevel(level)
                one.propagate = propagate
