"""A poll of a worker's in the loop of the tests, which is not made for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from router.wire import Poll


@contextmanager
def polling() -> Iterator[Poll]:
    poll, loop = Poll(), asyncio.get_running_loop()
    loop.add_reader(poll.fileno(), poll.turn)
    try:
        yield poll
    finally:
        loop.remove_reader(poll.fileno())
        poll.close()
