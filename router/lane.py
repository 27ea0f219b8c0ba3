"""What the invocations of a worker share, and what they need of the connection that they came over."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hotswap.settings import RouterLimits
from router.balance import RetryBudget
from router.counters import Counting
from router.forwarding import Trust
from router.problems import Problem
from router.reading import Ahead
from router.routes import Routes
from router.supply import Supply
from router.wheel import Wheel
from router.wire import End

QUIET: Final = 1.0
"""Seconds without a byte after which a draining worker closes a connection as idle. A client that sends more often
learns from its next answer that the connection ends, and loses no request to a close that crosses it on the way."""


@dataclass(slots=True)
class Lane:
    routes: Routes
    counting: Counting
    supply: Supply
    budget: RetryBudget
    wheel: Wheel
    clock: Callable[[], float]
    rng: random.Random
    trust: Trust
    limits: RouterLimits
    draining: bool = False
    """Every answer is the last on its connection."""


class Client(End):
    """The connection of whoever invokes; one invocation at a time."""

    @property
    def last(self) -> bool:
        """Nothing comes after this answer."""
        raise NotImplementedError

    def ahead(self) -> Ahead:
        """How much may be read for it."""
        raise NotImplementedError

    def write(self, data: bytes, piece: bytes = b"", tail: bytes = b"") -> None:
        raise NotImplementedError

    def finish(self, data: bytes, piece: bytes = b"", tail: bytes = b"", *, last: bool, now: float) -> None:
        """The answer ends with these bytes, and with it the connection if this was the last one."""
        raise NotImplementedError

    def refuse(self, problem: Problem) -> None:
        """The answer is the router's own."""
        raise NotImplementedError

    def begin_tunnel(self) -> None:
        """The answer has changed the protocol; what comes from here on is not HTTP."""
        raise NotImplementedError

    def write_eof(self) -> None:
        """The other side of the tunnel sends no more."""
        raise NotImplementedError

    def close(self) -> None:
        """When what was written is out."""
        raise NotImplementedError

    def cut(self) -> None:
        """The answer had begun and cannot be ended."""
        raise NotImplementedError

    def hold(self) -> None:
        """Reads no more of the body for now."""
        raise NotImplementedError

    def go_on(self) -> None:
        """The request is with an endpoint, or it takes more of the body."""
        raise NotImplementedError
