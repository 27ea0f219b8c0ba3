"""An express lane in this process, for what measures its code: one function of one version with two endpoints."""

import random
import time

from hotswap.settings import RouterLimits
from router.balance import RetryBudget
from router.counters import CounterFile, Counting
from router.express import Express
from router.forwarding import Trust
from router.lane import Lane
from router.pool import Pool
from router.routes import Routes
from router.rows import Owner, Row
from router.supply import Supply
from router.upstream import Connection, State
from router.wheel import Wheel
from router.wire import Poll
from tests.router_entries import alias, endpoint, update, version


class Stage:
    """In a loop that runs. Who takes it up gives the ends their wires."""

    def __init__(self, poll: Poll, *, concurrency: int) -> None:
        """`concurrency` is that of each endpoint."""
        counting, rng, clock = Counting(CounterFile.create("stage", capacity=4)), random.Random(1), time.monotonic
        limits = RouterLimits()
        routes = Routes(poll, workers=1, rng=rng, clock=clock, limits=limits, on_error=lambda: None)
        places = [endpoint(name, port=9000 + at, concurrency=concurrency) for at, name in enumerate("ab")]
        routes.apply(update(alias({1: 100}), version(1), *places), [Row(Owner("fn", "production", 1, 1), 1)])
        supply = Supply(counting, _no_row, clock=clock)
        lane = Lane(routes, counting, supply, RetryBudget(), Wheel(clock()), clock, rng, Trust(), limits)
        self.express = Express(lane)
        known = routes.endpoints("fn", 1)
        self.pools: list[Pool] = [known.pool(place) for place in known._known.values()]


def keep(pool: Pool, connection: Connection) -> None:
    """It has its wire, and is ready for a request."""
    connection.state = State.IDLE
    pool.put_back(connection)


async def _no_row(function: str, version: int) -> int:
    raise AssertionError("every version here has a row")
