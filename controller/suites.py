"""Placeholder, replaced by the merge."""

import aiohttp

from hotswap.deployment import Deployment, Test
from hotswap.errors import Unavailable
from hotswap.store import Store


class Suites:
    def __init__(self, *, store: Store, session: aiohttp.ClientSession) -> None:
        pass

    async def tested(self, deployment: Deployment, step: Test) -> str:
        raise Unavailable("not here yet")
