"""An upstream that the tests of one file share, and a worker for each lane in front of it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance.upstream import ScriptedUpstream, scripted_upstream
from tests.conformance.worker import LANES, Worker, worker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=LANES)
async def router(
    request: pytest.FixtureRequest, upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Worker]:
    async with worker(request.param, upstream.port, tmp_path_factory.mktemp("worker")) as made:
        yield made
